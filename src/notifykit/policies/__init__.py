"""The rules: pure functions over values, with the clock and the random numbers as arguments."""
