"""``notifykit catch``: a page with the messages that people would have got."""
