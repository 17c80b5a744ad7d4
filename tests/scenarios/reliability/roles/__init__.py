"""The processes that the scenarios start, pause and kill: ``python -m tests.scenarios.reliability.roles.<name>``."""
