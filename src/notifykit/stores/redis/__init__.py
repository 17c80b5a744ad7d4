"""The store in Redis or Valkey: each verb is one script (``scripts/``), so each is one atomic step."""
