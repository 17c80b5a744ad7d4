"""What is told as it happens: feeds, and the streams that carry them as server-sent events or over a WebSocket."""
