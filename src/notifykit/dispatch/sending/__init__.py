"""From due deliveries to recorded results."""
