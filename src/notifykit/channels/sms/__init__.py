"""SMS: one module for each provider, and the rules that all of them share."""
