"""For programs written with a framework; each module needs its own extra, and nothing else imports it."""
