"""Chat: incoming webhooks of chat rooms, one module for each vendor."""
