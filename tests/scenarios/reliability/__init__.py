"""Crashes, pauses and faults with real processes; ``checker.py`` decides from logs and the database what was lost."""
