"""The document `AccessOffer`, for the control plane only: agents see who is in a group, never why."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from control_plane.documents.stored_kind import StoredKind
from control_plane.kit.access import Permission
from data_plane.policy import documents, model
from data_plane.policy.documents import Problem

KIND: Final = "AccessOffer"


class AccessOfferSpec(model.Document, frozen=True):
    """Membership of `group`, which policies let at `target`, for a time. Neither the roles of a group nor its place in
    a chain are ever lent."""

    target: str
    group: str
    ask: tuple[str, ...]  # groups whose members may ask for it
    approval: str  # the chain
    longest: str = "8h"


class AccessOffer(model.Document, frozen=True, tag_field="kind", tag="AccessOffer"):
    apiVersion: Literal["assentry.dev/v1"]
    metadata: model.Metadata
    spec: AccessOfferSpec


class OfferKind(StoredKind):
    """The DocumentKind."""

    def __init__(self) -> None:
        super().__init__(AccessOffer, "access-offer", Permission.POLICY_EDIT)

    def decode(self, value: object) -> model.Document | Problem:
        return documents.into(AccessOffer, value, KIND, _name_of(value))


def parse(text: str) -> AccessOffer:
    return msgspec.json.decode(text, type=AccessOffer)


def _name_of(value: object) -> str:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""
