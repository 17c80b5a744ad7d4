"""The words: frozen values that every other part speaks in."""
