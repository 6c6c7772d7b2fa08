"""What is asked, as the API shows it: an operation, a plan or access. Made safe to print; nothing is cut."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from control_plane.approvals.reports import Parameter, Resource
from control_plane.approvals.shown import Access, Operation, Plan, duration
from control_plane.approvals.undo import Undo
from control_plane.kit.display import displayed, visible


class ResourceOut(BaseModel):
    kind: str = Field(examples=["relation"])
    name: str = Field(examples=["public.orders"])
    access: list[str] = Field(examples=[["write"]])

    @classmethod
    def of(cls, resource: Resource) -> ResourceOut:
        return cls(kind=resource.kind, name=visible(resource.name), access=list(resource.access))


class ParameterOut(BaseModel):
    name: str = Field(examples=["$1"])
    type: str = Field(examples=["int4"])
    value: str = Field(examples=["1041"])
    decoded: bool = Field(description="false: the value is hex of bytes that could not be decoded")
    null: bool

    @classmethod
    def of(cls, parameter: Parameter) -> ParameterOut:
        return cls(
            name=visible(parameter.name),
            type=visible(parameter.type),
            value=displayed(parameter.value).text,
            decoded=parameter.decoded,
            null=parameter.null,
        )


class UndoOut(BaseModel):
    """What kind of thing the operation does, and whether it can be undone."""

    kind: str = Field(examples=["changes data"])
    possible: bool | None = Field(description="null: nobody can tell")
    how: str = Field(examples=["cannot be undone: it commits by itself"])

    @classmethod
    def of(cls, undo: Undo) -> UndoOut:
        return cls(kind=undo.kind, possible=undo.possible, how=undo.how)


class OperationOut(BaseModel):
    id: str
    action: str = Field(examples=["write"])
    verbs: list[str] = Field(examples=[["DELETE"]])
    resources: list[ResourceOut]
    text: str = Field(
        description="complete; what a screen would hide is written out as ⟨U+200B ZERO WIDTH SPACE⟩",
        examples=["DELETE FROM orders WHERE id = 1041"],
    )
    hidden_characters: int = Field(description="how many characters were written out; above 0 deserves a warning")
    exact_text: str = Field(description="the text as the client sent it: never print it on a terminal")
    parameters: list[ParameterOut]
    facts: dict[str, Any]
    session_state: dict[str, str] = Field(examples=[{"search_path": "public"}])
    in_transaction: bool = Field(description="the client holds a transaction open, and perhaps locks, while it waits")
    raw_hex: str = Field(description="bytes beyond the text that would be sent")
    digest: str = Field(description="SHA-256 of everything that would execute; what a grant is for")

    @classmethod
    def of(cls, operation: Operation) -> OperationOut:
        text = displayed(operation.text)
        return cls(
            id=operation.id,
            action=operation.action,
            verbs=list(operation.verbs),
            resources=[ResourceOut.of(resource) for resource in operation.resources],
            text=text.text,
            hidden_characters=text.hidden,
            exact_text=operation.text,
            parameters=[ParameterOut.of(parameter) for parameter in operation.parameters],
            facts=operation.facts,
            session_state={visible(name): visible(value) for name, value in operation.session_state},
            in_transaction=operation.in_transaction,
            raw_hex=operation.raw.hex(),
            digest=operation.digest,
        )


class StatementOut(BaseModel):
    number: int = Field(examples=[1])
    text: str = Field(
        description="complete; what a screen would hide is written out", examples=["DELETE FROM orders WHERE id = 7"]
    )
    hidden_characters: int
    exact_text: str = Field(description="the text as it was submitted: never print it on a terminal")


class PlanContentsOut(BaseModel):
    """Operations told beforehand. Each may run once, and only exactly so."""

    statements: list[StatementOut]
    ordered: bool = Field(description="none runs before the one above it")
    session_state: dict[str, str] = Field(
        description="what a session must say of itself for any of them to run", examples=[{"search_path": "public"}]
    )

    @classmethod
    def of(cls, plan: Plan) -> PlanContentsOut:
        statements = []
        for number, text in enumerate(plan.statements, 1):
            safe = displayed(text)
            statements.append(
                StatementOut(number=number, text=safe.text, hidden_characters=safe.hidden, exact_text=text)
            )
        state = {visible(name): visible(value) for name, value in plan.session_state}
        return cls(statements=statements, ordered=plan.ordered, session_state=state)


class AccessContentsOut(BaseModel):
    """Membership of a group for some time, which opens what policies give that group."""

    offer: str = Field(examples=["orders-on-call"])
    group: str = Field(examples=["orders-window"])
    seconds: int = Field(examples=[7200])
    duration: str = Field(examples=["2h"])
    policies: list[str] = Field(description="that select the group", examples=[["orders-by-hand"]])

    @classmethod
    def of(cls, access: Access) -> AccessContentsOut:
        return cls(
            offer=access.offer,
            group=access.group,
            seconds=access.seconds,
            duration=duration(access.seconds),
            policies=list(access.policies),
        )
