"""Life of a dispatcher: its loops, when they run, wake-ups and shutdown."""
