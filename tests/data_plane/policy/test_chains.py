"""Chains and on-call schedules that make no sense are refused when they are written, with the field."""

from __future__ import annotations

from typing import Any

import pytest

from data_plane.policy import chains, documents, model
from data_plane.policy.validate import validate
from tests.data_plane.policy.test_validate import document

DBA = {"groups": ["dba"]}
ROTATION = {"people": ["ada", "bob"], "start": "2026-01-05T09:00:00"}
SCHEDULE = document("OnCallSchedule", "web", rotation=ROTATION)
KNOWN: dict[str, Any] = {"groups": ["dba", "security", "leads"], "people": ["ada", "bob"], "identities": ["ada", "bob"]}


def problems(kind: str, **spec: Any) -> dict[str, str]:
    made = documents.convert(
        {"apiVersion": "assentry.dev/v1", "kind": kind, "metadata": {"name": "made"}, "spec": spec}
    )
    found = [made] if isinstance(made, documents.Problem) else validate([made, SCHEDULE], **KNOWN)
    return {each.path.removeprefix("$.spec."): each.message for each in found}


def of_stage(**stage: Any) -> dict[str, str]:
    found = problems("ApprovalChain", stages=[stage])
    return {path.removeprefix("stages[0]").removeprefix("."): message for path, message in found.items()}


def test_the_whole_of_what_a_chain_may_say_has_no_problem() -> None:
    assert problems(
        "ApprovalChain",
        stages=[
            {"name": "database", "groups": ["dba"], "people": ["ada"], "on_call": ["web"], "require": 2, "timeout": "15m",
             "on_timeout": {"escalate": {"groups": ["leads"], "people": ["bob"], "on_call": ["web"], "timeout": "10m"}}},
            {"all": [{"require": 2, "groups": ["dba"]}, {"any": [{"groups": ["security"]}, {"on_call": ["web"]}]}],
             "timeout": "10m", "on_timeout": "deny"},
        ],
        approve_within="30m",
        execute_within="5m",
        remind_every="5m",
        window={"longest": "30m", "most": 20},
        row_guard={"margin_percent": 10, "margin_rows": 0},
        break_glass=True,
        channels=["console", "cli"],
        reauthenticate="5m",
    ) == {}  # fmt: skip


@pytest.mark.parametrize(
    "proof",
    [{"method": "security-key"}, {"within": "5m", "method": "security-key", "acr": ["phr"], "amr": ["pop", "mfa"]}],
)
def test_how_well_a_decision_is_proven_may_be_said_in_full(proof: dict[str, Any]) -> None:
    assert problems("ApprovalChain", stages=[DBA], reauthenticate=proof) == {}


def test_a_chain_as_it_was_written_before_is_read_as_it_was() -> None:
    made = document(
        "ApprovalChain", "old", stages=[{"groups": ["dba"], "require": 1, "timeout": "15m"}], execute_within="5m"
    )
    assert validate([made], groups=["dba"]) == []
    assert documents.sparse(made)["spec"] == {"stages": [{"groups": ["dba"]}]}


@pytest.mark.parametrize(
    ("stage", "path", "message"),
    [
        ({}, "groups", "needs groups, people or on_call"),
        ({"groups": []}, "groups", "needs groups, people or on_call"),
        ({"all": [DBA, {}]}, "all[1].groups", "needs groups, people or on_call"),
        ({"groups": ["dbb"]}, "groups[0]", "unknown group 'dbb'; did you mean 'dba'?"),
        ({"people": ["ade"]}, "people[0]", "unknown person 'ade'; did you mean 'ada'?"),
        ({"on_call": ["wep"]}, "on_call[0]", "unknown on-call schedule 'wep'; did you mean 'web'?"),
        ({"any": [DBA, {"all": [{"groups": ["nobody"]}]}]}, "any[1].all[0].groups[0]", "unknown group 'nobody'"),
        ({"groups": ["dba", "dba"]}, "groups[1]", "listed twice"),
        ({"groups": ["dba"], "require": 0}, "require", "at least one"),
        ({"people": ["ada"], "require": 2}, "require", "2 people can never be found here: 1 at a time are named"),
        ({"people": ["ada"], "on_call": ["web"], "require": 3}, "require", "can never be found"),
        ({"groups": ["dba"], "all": [DBA]}, "", "all and groups, people or on_call stand beside each other"),
        ({"all": [DBA], "any": [DBA]}, "", "all and any stand beside each other"),
        ({"all": [DBA], "require": 2}, "require", "belongs to a set"),
        ({"groups": ["dba"], "timeout": "soon"}, "timeout", "not a duration"),
        ({"groups": ["dba"], "name": "x" * 64}, "name", "at most 63"),
        ({"groups": ["dba"], "on_timeout": "skip"}, "on_timeout", "invalid enum value 'skip'"),
        ({"groups": ["dba"], "on_timeout": {"escalate": {}}}, "on_timeout.escalate", "needs groups, people or on_call"),
        ({"groups": ["dba"], "on_timeout": {"escalate": DBA}}, "on_timeout.escalate", "escalate to others"),
        ({"groups": ["dba"], "on_timeout": {"escalate": {"groups": ["x"]}}}, "on_timeout.escalate.groups[0]", "unknown"),
        ({"groups": ["dba"], "on_timeout": {"escalate": {"people": ["ada"], "timeout": ""}}},
         "on_timeout.escalate.timeout", "not a duration"),
        ({"grups": ["dba"]}, "grups", "did you mean 'groups'?"),
        ({"all": [{"requires": 2}]}, "all[0].requires", "did you mean 'require'?"),
    ],
)  # fmt: skip
def test_a_stage_that_makes_no_sense_is_refused_where_it_stands(stage: dict, path: str, message: str) -> None:
    assert message in of_stage(**stage).get(path, ""), of_stage(**stage)


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        ({"stages": []}, "stages", "one to 10 stages"),
        ({"stages": [{**DBA, "name": "a"}] * 2}, "stages[1].name", "same name"),
        ({"stages": [{"any": [DBA] * 5}] * 2}, "stages", "more than 16 ways"),
        ({"stages": [{"groups": ["dba"], "require": 51}]}, "stages", "at most 50 people"),
        ({"stages": [{"all": [DBA] * 33}]}, "stages", "at most 32 sets"),
        ({"stages": [{"all": [{"any": [{"all": [{"any": [{"all": [DBA]}]}]}]}]}]}, "stages[0].all[0].any[0].all[0].any[0].all[0]", "at most 5 deep"),
        ({"approve_within": "soon"}, "approve_within", "not a duration"),
        ({"approve_within": "16m"}, "approve_within", "the stages end it sooner"),
        ({"execute_within": ""}, "execute_within", "not a duration"),
        ({"remind_every": "30s"}, "remind_every", "at most every 60s"),
        ({"remind_every": "15m"}, "remind_every", "never comes"),
        ({"window": {"longest": "x"}}, "window.longest", "not a duration"),
        ({"window": {"most": 0}}, "window.most", "one operation at least"),
        ({"row_guard": {"margin_percent": -1}}, "row_guard.margin_percent", "not negative"),
        ({"channels": []}, "channels", "nobody can decide"),
        ({"channels": ["slak"]}, "channels[0]", "choose one of: console, cli, rest, slack, webhook"),
        ({"channels": ["cli", "cli"]}, "channels[1]", "listed twice"),
        ({"reauthenticate": "now"}, "reauthenticate", "not a duration"),
        ({"reauthenticate": "5m", "channels": ["console", "slack"]}, "channels[1]", "nobody can sign in again through slack"),
        ({"reauthenticate": {}}, "reauthenticate", "asks for nothing"),
        ({"reauthenticate": {"within": "now"}}, "reauthenticate.within", "not a duration"),
        ({"reauthenticate": {"method": "finger"}}, "reauthenticate.method", "choose one of: sign-in, security-key"),
        ({"reauthenticate": {"acr": ["phr", ""]}}, "reauthenticate.acr[1]", "1 to 255 printable characters"),
        ({"reauthenticate": {"amr": ["m fa"]}}, "reauthenticate.amr[0]", "no space"),
        ({"reauthenticate": {"amr": ["mfa", "mfa"]}}, "reauthenticate.amr[1]", "listed twice"),
        ({"reauthenticate": {"acr": ["phr"]}, "channels": ["rest"]}, "channels[0]", "nobody can sign in again through rest"),
        ({"reauthenticate": {"method": "security-key"}, "channels": ["console", "cli"]}, "channels[1]", "nobody can use a security key through cli"),
    ],
)  # fmt: skip
def test_a_chain_that_contradicts_itself_is_refused_where_it_does(options: dict, path: str, message: str) -> None:
    found = problems("ApprovalChain", **{"stages": [{**DBA, "timeout": "15m"}], **options})
    assert message in found.get(path, ""), found


@pytest.mark.parametrize(
    ("rotation", "overrides", "path", "message"),
    [
        ({"people": []}, [], "rotation.people", "at least one person"),
        ({"people": ["ada", "eve"]}, [], "rotation.people[1]", "unknown person 'eve'"),
        ({"start": "monday"}, [], "rotation.start", "is no time"),
        ({"timezone": "Mars/Base"}, [], "rotation.timezone", "is no time zone"),
        ({"every": "5m"}, [], "rotation.every", "at least an hour"),
        ({"every": "weekly"}, [], "rotation.every", "not a duration"),
        ({}, [{"person": "eve", "from": "2026-01-01T00:00", "until": "2026-01-02"}], "overrides[0].person", "unknown person"),
        ({}, [{"person": "ada", "from": "x", "until": "2026-01-02"}], "overrides[0].from", "is no time"),
        ({}, [{"person": "ada", "from": "2026-01-02", "until": "2026-01-02"}], "overrides[0].until", "not after `from`"),
        ({}, [{"person": "ada", "from": "2026-01-02", "til": "2026-01-02"}], "overrides[0].til", "did you mean 'until'?"),
    ],
)  # fmt: skip
def test_a_schedule_that_makes_no_sense_is_refused_where_it_stands(
    rotation: dict, overrides: list, path: str, message: str
) -> None:
    found = problems("OnCallSchedule", rotation={**ROTATION, **rotation}, overrides=overrides)
    assert message in found.get(path, ""), found


@pytest.mark.parametrize("depth", [50, 300, 5000])
def test_a_chain_without_bottom_is_a_problem_and_no_accident(depth: int) -> None:
    stage: dict[str, Any] = DBA
    for _ in range(depth):
        stage = {"all": [stage]}
    (message,) = problems("ApprovalChain", stages=[stage]).values()
    assert "deep" in message


def test_how_long_a_chain_can_take_is_all_its_time_unless_it_says_less() -> None:
    further = {"escalate": {"groups": ["leads"], "timeout": "1m"}}
    made = document(
        "ApprovalChain", "c", stages=[{**DBA, "timeout": "2m", "on_timeout": further}, {**DBA, "timeout": "4m"}]
    )
    assert isinstance(made, model.ApprovalChain)
    assert chains.longest_seconds(made.spec) == 420
    less = document("ApprovalChain", "c", stages=[DBA], approve_within="3m")
    assert isinstance(less, model.ApprovalChain)
    assert chains.longest_seconds(less.spec) == 180
