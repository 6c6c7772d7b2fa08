"""Policies, subjects and sessions for tests, in few words."""

from __future__ import annotations

from typing import Any

from data_plane.gate.interface import Action, Requester, Resource, SessionFacts, Subject, TargetFacts
from data_plane.identifiers import CredentialId, IdentityId, SessionId, TargetName
from data_plane.policy import documents, model
from data_plane.policy.evaluate import SessionPolicy
from data_plane.policy.rules import compile_policy

ROBOT = Requester(IdentityId("idn_robot"), "robot", "machine", ("ci", "ai-agents"), IdentityId("idn_owner"))
ORDERS = TargetFacts(TargetName("orders"), "postgres", "production", {"team": "shop"})


def session(**changed: Any) -> SessionFacts:
    fields: dict[str, Any] = {
        "id": SessionId("ses_1"),
        "target": ORDERS,
        "requester": ROBOT,
        "credential_id": CredentialId("crd_1"),
        "client_address": "127.0.0.1",
        "application_name": "psql",
    }
    return SessionFacts(**{**fields, **changed})


def subject(
    action: str = "read",
    *verbs: str,
    tables: tuple[str | tuple[str, ...], ...] = (),
    functions: tuple[str, ...] = (),
    understood: bool = True,
    problem: str = "",
    also: tuple[str, ...] = (),
    **facts: Any,
) -> Subject:
    """`tables`: a name, or the candidates when it may be one of several. `also`: more actions than the worst."""
    resources = [Resource("relation", (each,) if isinstance(each, str) else each, ("read",)) for each in tables]
    resources += [Resource("function", (each,), ("execute",)) for each in functions]
    return Subject(
        Action(action), verbs or ("SELECT",), tuple(resources), facts, understood, problem, frozenset(map(Action, also))
    )


def policy_document(name: str = "p", rules: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": model.API_VERSION,
        "kind": "Policy",
        "metadata": {"name": name},
        "spec": {"rules": rules or [], **spec},
    }


def policy(name: str = "p", rules: list[dict[str, Any]] | None = None, **spec: Any) -> model.Policy:
    document = documents.convert(policy_document(name, rules, **spec))
    assert isinstance(document, model.Policy), document
    return document


def decider(*rules: dict[str, Any], facts: SessionFacts | None = None, **spec: Any) -> SessionPolicy:
    return SessionPolicy([compile_policy(policy("p", list(rules), **spec))], facts or session(), "shop")


def allow(name: str = "allow", **more: Any) -> dict[str, Any]:
    return {"name": name, "effect": "allow", **more}


def deny(name: str = "deny", **more: Any) -> dict[str, Any]:
    return {"name": name, "effect": "deny", **more}


def hold(name: str = "hold", approval: str = "dba", **more: Any) -> dict[str, Any]:
    return {"name": name, "effect": "hold", "approval": approval, **more}


READS, WRITES, DDL = {"action": "read"}, {"action": "write"}, {"action": "ddl"}
