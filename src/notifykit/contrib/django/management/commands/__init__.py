"""The command ``notifykit``."""
