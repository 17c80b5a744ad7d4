"""The engine: takes events from the outbox, plans them, claims what is due, sends it, records the result.

``planning`` and ``sending`` are the flow, ``maintenance`` repairs and cleans, and ``runtime`` runs all of it.
"""
