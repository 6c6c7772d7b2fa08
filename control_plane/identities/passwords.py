"""Passwords: argon2id in a few threads, the same work for names that are not known.

A caller learns from neither the answer nor its time whether a name exists. Work is bounded: more sign-ins
than the threads can take are told to come again instead of filling memory (64 MiB each).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from control_plane.kit.ids import random_text
from control_plane.kit.secret import Secret

T = TypeVar("T")

SHORTEST = 12
LONGEST = 256
_AT_ONCE = 2
_WAITING = 32


class BusyError(Exception):
    """Too many sign-ins at once."""


class Passwords:
    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        self._nobody = self._hasher.hash(random_text(32))

    async def hash(self, password: Secret) -> str:
        return await self._in_thread(self._hasher.hash, password.reveal())

    async def matches(self, password_hash: str, password: Secret) -> bool:
        """An empty hash (no such name, no password) costs as much as a real one and never matches."""
        matched = await self._in_thread(self._verify, password_hash or self._nobody, password.reveal())
        return matched and bool(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (Argon2Error, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= _WAITING:
            raise BusyError
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1


def password_problem(password: Secret, name: str) -> str:
    """Empty: good enough. Length is what counts (NIST SP 800-63B 5.1.1.2)."""
    text = password.reveal()
    if len(text) < SHORTEST:
        return f"a password has at least {SHORTEST} characters"
    if len(text) > LONGEST:
        return f"a password has at most {LONGEST} characters"
    if name in text.lower() and len(text) < len(name) + SHORTEST // 2:
        return "a password is more than the name"
    return ""
