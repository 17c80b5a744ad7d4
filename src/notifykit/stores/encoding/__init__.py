"""How values are laid out, encrypted and read back, whatever the database: what the SQL and the Redis stores share."""
