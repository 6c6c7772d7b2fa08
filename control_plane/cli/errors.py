"""What went wrong, for people: `main` prints it as one line and exits with 1. Anything else that is raised is a bug."""

from __future__ import annotations


class CommandError(Exception):
    """The message names the thing and says what to do about it. Never a secret."""
