"""The job itself, measured: ``python -m benchmarks``, or one run of it: ``python -m benchmarks.deliver``."""
