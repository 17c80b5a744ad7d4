"""What carries deliveries to one kind of address; siblings that never import each other."""
