"""The contracts of the ports as tests: one package or module for each port."""
