"""Attacks on the gate that worked once, against both planes and a real server."""
