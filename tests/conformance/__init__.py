"""Every backend against the suite of its port."""
