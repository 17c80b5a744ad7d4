"""``notifykit demo``: the main job, for real, in one command."""
