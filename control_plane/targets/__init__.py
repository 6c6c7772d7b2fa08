"""Targets: the systems that agents stand in front of, and which agent serves each."""
