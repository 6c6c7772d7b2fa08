"""Rotation of the accounts that agents use at targets: when, what became of it, and how old what is in use is.

The agent does it (`data_plane.credentials.rotation`), asked by an errand; here is no password at any time.
"""
