"""A mistake in a document is told with its place and what to do."""

from __future__ import annotations

import json

import pytest

from data_plane.policy import documents, durations, globs, model
from data_plane.policy.documents import Problem
from tests.support.policies import allow, policy, policy_document


def problem(value: object) -> Problem:
    found = documents.convert(value)
    assert isinstance(found, Problem), found
    return found


def test_a_document_survives_encoding_and_equal_documents_have_equal_text() -> None:
    document = policy("p", [allow(match={"action": "read", "tables": ["public.*"]}, mask=["pii"])])
    text = documents.encode(document)
    assert documents.decode(text) == document
    assert documents.encode(documents.decode(text)) == text


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        ({"name": "r", "efect": "allow"}, "$.spec.rules[0].efect", "unknown field 'efect'; did you mean 'effect'?"),
        ({"name": "r", "match": {"tabels": []}}, "$.spec.rules[0].match.tabels", "did you mean 'tables'?"),
        ({"name": "r", "match": {"zzz": 1}}, "$.spec.rules[0].match.zzz", "known: action, functions, tables, verbs"),
        (
            {"name": "r", "effect": "permit"},
            "$.spec.rules[0].effect",
            "invalid enum value 'permit'; choose one of: allow, hold, deny",
        ),
        ({"name": "r", "match": {"action": "reed"}}, "$.spec.rules[0].match.action", "choose one of: read, write, ddl"),
        ({"name": "r", "match": {"action": ["reed"]}}, "$.spec.rules[0].match.action[0]", "choose one of: read, write"),
        ({"name": 3}, "$.spec.rules[0].name", "expected `str`, got `int`"),
        ({}, "$.spec.rules[0]", "missing required field `name`"),
    ],
)
def test_a_mistake_is_told_with_its_path_and_the_nearest_field(rule: dict, path: str, message: str) -> None:
    found = problem(policy_document("reads", [rule]))
    assert (found.kind, found.name, found.path) == ("Policy", "reads", path)
    assert message in found.message


def test_a_name_that_may_not_stand_there_is_told_with_those_that_may() -> None:
    spec = {"credential": {"session_roles": {"roles": {"reads": ["shop_read"]}}}}
    found = documents.decode_spec(model.TargetSpec, "Target", "shop", json.dumps(spec))
    assert isinstance(found, Problem)
    assert found.path == "$.credential.session_roles.roles"
    assert found.message == "invalid enum value 'reads'; choose one of: read, write, ddl, admin, exec"


def test_an_unknown_kind_names_the_known_ones() -> None:
    assert "did you mean 'Policy'?" in problem({"kind": "Polici"}).message
    assert problem([]).path == "$"
    assert isinstance(documents.decode("{"), Problem)


def test_what_is_as_it_would_be_without_is_left_out_and_the_rest_reads_back() -> None:
    rule = {"name": "r", "match": {"action": "read"}, "effect": "hold", "approval": "dba", "hold": {"wait": "10m"}}
    document = documents.convert(policy_document("p", [rule]))
    written = documents.sparse(document)
    assert written["spec"]["rules"] == [{name: value for name, value in rule.items() if name != "hold"}]
    assert (written["kind"], written["apiVersion"], written["metadata"]) == ("Policy", "assentry.dev/v1", {"name": "p"})
    assert documents.convert(written) == document


def test_a_bare_spec_is_read_as_a_snapshot_carries_it() -> None:
    text = '{"protocol": "postgres", "environment": "test", "agent": "a", "address": "h:1"}'
    assert isinstance(documents.decode_spec(model.TargetSpec, "Target", "t", text), model.TargetSpec)
    wrong = documents.decode_spec(model.TargetSpec, "Target", "t", '{"protocol": "oracle"}')
    assert isinstance(wrong, Problem)


def test_durations_are_numbers_with_units() -> None:
    assert [durations.seconds(text) for text in ("90s", "15m", "1h30m", "250ms", "2d")] == [90, 900, 5400, 0.25, 172800]


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "1.5h", "5 m", "0s", "9999d", "5m!", "٣m"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(durations.DurationError):
        durations.seconds(text)


def test_only_the_star_is_special_in_a_pattern() -> None:
    assert globs.matches("public.*", "public.a.b")
    assert globs.matches("*.a*z", "public.abcz")
    assert not globs.matches("public.a*a", "public.a")
    assert not globs.matches("public.a", "public.b")
    assert [bool(globs.wrong(pattern)) for pattern in ("*", "public.*", "customers", "a.", "a.b?", "a.[b]")] == [
        False, False, True, True, True, True,
    ]  # fmt: skip


def test_a_pattern_is_matched_in_linear_time() -> None:
    assert not globs.matches("*a" * 60 + "b", "a" * 20_000)


def test_an_unknown_schema_is_matched_perhaps_but_not_surely() -> None:
    patterns = globs.Patterns(["public.customers", "hr.*"])
    assert not patterns.surely("?.customers")
    assert patterns.perhaps("?.customers")
    assert patterns.perhaps("?.anything"), "it may be in hr"
    assert not globs.Patterns(["public.customers"]).perhaps("?.orders")
    assert globs.Patterns(["*.customers"]).surely("?.customers")


def test_a_wider_pattern_covers_a_narrower_one() -> None:
    assert globs.covers("public.*", "public.cust*")
    assert globs.covers("*", "a.b")
    assert not globs.covers("public.cust*", "public.*")
