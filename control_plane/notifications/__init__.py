"""Telling people outside: the outbox's notices carried to every configured channel, each delivery on its own."""
