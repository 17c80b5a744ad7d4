"""Pushes to devices and browsers: one module for each service, and a channel that chooses among them."""
