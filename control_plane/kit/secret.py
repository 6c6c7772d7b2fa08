"""A value that must not be read by accident: it prints as *** in logs, errors, reprs and formats."""

from __future__ import annotations

import hmac
from typing import NoReturn, final

_STARS = "***"


@final
class Secret:
    """`reveal` is the only way to the value. It neither pickles nor compares by accident."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        return self.__value

    def same_as(self, other: str) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(self.__value.encode(), other.encode())

    def __repr__(self) -> str:
        return _STARS

    __str__ = __repr__

    def __format__(self, _specification: str) -> str:
        return _STARS

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialized; reveal it where it is needed")
