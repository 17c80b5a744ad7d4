"""The engine: takes events from the outbox, plans them, claims what is due, sends it, records the result."""
