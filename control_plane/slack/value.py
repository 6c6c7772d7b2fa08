"""What a button carries, and a modal brings back: which request, and the digest of what was shown beside it. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

_FORM: Final = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9a-f]{64})", re.ASCII)


class ButtonValue(msgspec.Struct, frozen=True):
    approval_id: str
    digest: bytes

    @property
    def text(self) -> str:
        return f"{self.approval_id}:{self.digest.hex()}"


def read_value(text: str) -> ButtonValue | None:
    """None: not one of ours."""
    found = _FORM.fullmatch(text)
    return ButtonValue(found[1], bytes.fromhex(found[2])) if found else None
