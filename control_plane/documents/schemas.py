"""Documents as the API shows them. Their own shapes are those of `data_plane.policy.model`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel, Field

from control_plane.documents.domain import Change, PlannedChange
from control_plane.documents.tables import DocumentRow, DocumentVersionRow

EXAMPLE_POLICY: dict[str, Any] = {
    "apiVersion": "assentry.dev/v1",
    "kind": "Policy",
    "metadata": {"name": "production-databases"},
    "spec": {
        "targets": {"environment": "production"},
        "requesters": {"groups": ["ci"]},
        "rules": [{"name": "reads-flow", "match": {"action": "read"}, "effect": "allow"}],
    },
}
MOST_DOCUMENTS = 2000


class DocumentsIn(BaseModel):
    documents: list[dict[str, Any]] = Field(max_length=MOST_DOCUMENTS, examples=[[EXAMPLE_POLICY]])
    prune: bool = Field(default=False, description="delete what was applied before and is not among these")


class DifferenceOut(BaseModel):
    path: str = Field(examples=["$.spec.rules[0].effect"])
    before: Any = Field(description="null: was not there", examples=["allow"])
    after: Any = Field(description="null: will not be there", examples=["hold"])


class ChangeOut(BaseModel):
    kind: str = Field(examples=["Policy"])
    name: str = Field(examples=["production-databases"])
    change: Change
    diff: list[DifferenceOut] = Field(description="of an update: the fields that change")

    @classmethod
    def of(cls, change: PlannedChange) -> ChangeOut:
        diff = [DifferenceOut(**msgspec.structs.asdict(one)) for one in change.diff]
        return cls(kind=change.kind, name=change.name, change=change.change, diff=diff)


class PlanOut(BaseModel):
    changes: list[ChangeOut]


class ExportOut(BaseModel):
    documents: list[dict[str, Any]] = Field(examples=[[EXAMPLE_POLICY]])


class DocumentOut(BaseModel):
    name: str = Field(examples=["production-databases"])
    version: int = Field(description="also the ETag", examples=[3])
    updated_at: datetime
    updated_by: str = Field(examples=["ada"])
    document: dict[str, Any] = Field(examples=[EXAMPLE_POLICY])

    @classmethod
    def of(cls, row: DocumentRow) -> DocumentOut:
        document = msgspec.json.decode(row.json_text)
        return cls(
            name=row.name,
            version=row.version,
            updated_at=row.updated_at,
            updated_by=row.updated_by,
            document=document,
        )


class VersionOut(BaseModel):
    version: int = Field(examples=[3])
    at: datetime
    by: str = Field(examples=["ada"])
    document: dict[str, Any] | None = Field(description="null: this version is a deletion", examples=[EXAMPLE_POLICY])

    @classmethod
    def of(cls, row: DocumentVersionRow) -> VersionOut:
        document = msgspec.json.decode(row.json_text) if row.json_text else None
        return cls(version=row.version, at=row.at, by=row.by, document=document)
