"""What a type checker sees; mypy reads these modules, and nothing runs them."""
