"""Recordings: segments as agents ship them, verified while they arrive, kept in a store, verified again on demand."""
