"""Agents: how they join, what they are told, and what they report; the control plane's end of the link."""
