"""The stores in SQL databases: one schema, one set of statements, a dialect for each database."""
