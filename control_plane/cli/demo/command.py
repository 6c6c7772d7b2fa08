"""Placeholder."""


def demo() -> None: ...
