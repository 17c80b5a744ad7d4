"""The SQL store on SQLite."""
