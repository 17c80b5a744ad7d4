"""The rules: pure functions over values, with the clock and the dice as arguments."""
