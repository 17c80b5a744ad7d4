"""The job itself, measured: ``python -m benchmarks.deliver``."""
