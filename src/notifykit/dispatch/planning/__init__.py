"""From published events to deliveries."""
