"""How much one requester may ask of people. A value; `pressure` keeps it."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    waiting: int = 50  # requests that wait at once
    in_a_minute: int = 200
    lock_seconds: int = 900
