"""What a button carries, and a modal brings back: which request, and the digest of what was shown beside it; and the
same of the identical requests that stood on the card too. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from control_plane.approvals.review import Member
from control_plane.slack.blocks import MOST_OF_A_VALUE

_FORM: Final = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9a-f]{64})", re.ASCII)


class ButtonValue(msgspec.Struct, frozen=True):
    approval_id: str
    digest: bytes
    also: tuple[Member, ...] = ()

    @property
    def text(self) -> str:
        return ",".join([_one(self.approval_id, self.digest), *(_one(one.approval_id, one.shown) for one in self.also)])


def with_alike(approval_id: str, digest: bytes, alike: Sequence[Member]) -> ButtonValue:
    """With as many of them as a button can carry, the first ones."""
    room = (MOST_OF_A_VALUE - len(_one(approval_id, digest))) // (len(_one("", digest)) + 65)
    return ButtonValue(approval_id, digest, tuple(alike[:room]))


def read_value(text: str) -> ButtonValue | None:
    """None: not one of ours."""
    found = [_FORM.fullmatch(one) for one in text.split(",", MOST_OF_A_VALUE // 64)]
    members = [Member(one[1], bytes.fromhex(one[2])) for one in found if one is not None]
    if len(members) != len(found):
        return None
    first, *also = members
    return ButtonValue(first.approval_id, first.shown, tuple(also))


def _one(approval_id: str, digest: bytes) -> str:
    return f"{approval_id}:{digest.hex()}"
