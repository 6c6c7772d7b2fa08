"""A bounded cache that costs one dictionary look-up when it hits.

Two generations: what is asked for moves into the younger; when that is full it becomes the older, and what nobody
asked for since is dropped. Bounded by entries and by the bytes of the keys.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    __slots__ = ("_bytes", "_most_bytes", "_most_entries", "older", "younger")

    def __init__(self, entries: int, size: int) -> None:
        self._most_entries = entries // 2
        self._most_bytes = size // 2
        self._bytes = 0
        self.younger: dict[bytes, Value] = {}
        self.older: dict[bytes, Value] = {}

    def get(self, key: bytes) -> Value | None:
        found = self.younger.get(key)
        if found is None:
            found = self.older.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: bytes, value: Value) -> None:
        size = len(key)
        if size > self._most_bytes:
            return
        if len(self.younger) >= self._most_entries or self._bytes + size > self._most_bytes:
            self.older, self.younger, self._bytes = self.younger, {}, 0
        self.younger[key] = value
        self._bytes += size

    def __len__(self) -> int:
        return len(self.younger) + len(self.older)
