"""Secrets that the control plane keeps sealed and hands only to the agents that need them. Nobody reads one back."""
