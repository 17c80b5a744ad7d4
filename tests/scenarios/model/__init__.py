"""Models of the engine: virtual time, a simulated day, a state machine."""
