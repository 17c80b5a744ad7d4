"""Who calls: API keys, access tokens, JWTs, and the host's own sessions."""
