"""Frozen values that all other modules use; they import nothing else of the package but errors."""
