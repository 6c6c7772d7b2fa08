"""An ApprovalChain as it is written becomes the chain of the domain: seconds, and what is left out said. Pure."""

from __future__ import annotations

from typing import Final

from control_plane.approvals.domain import Chain, Escalation, Requirement, RowGuard, Stage, Window
from data_plane.policy import durations, model

# Where a sign-in is at hand that can be asked for again.
SIGNED_IN: Final = ("console", "cli")


def chain_of(name: str, spec: model.ChainSpec) -> Chain:
    """Of a document that has been validated."""
    window, guard = spec.window, spec.row_guard
    return Chain(
        name,
        tuple(_stage(stage) for stage in spec.stages),
        durations.seconds(spec.execute_within),
        break_glass=spec.break_glass,
        channels=_channels(spec),
        reauthenticate_seconds=_seconds(spec.reauthenticate),
        approve_within_seconds=_seconds(spec.approve_within),
        remind_every_seconds=_seconds(spec.remind_every),
        window=Window(durations.seconds(window.longest), window.most) if window else None,
        row_guard=RowGuard(guard.margin_percent, guard.margin_rows, guard.required) if guard else None,
    )


def _channels(spec: model.ChainSpec) -> tuple[str, ...]:
    if spec.channels is not None:
        return spec.channels
    return SIGNED_IN if spec.reauthenticate else ()


def _stage(written: model.Stage) -> Stage:
    return Stage(
        groups=written.groups,
        required=written.require,
        timeout_seconds=durations.seconds(written.timeout),
        people=written.people,
        on_call=written.on_call,
        all_of=tuple(_requirement(one) for one in written.all_of),
        any_of=tuple(_requirement(one) for one in written.any_of),
        name=written.name,
        escalation=_escalation(written.on_timeout),
    )


def _requirement(written: model.Requirement) -> Requirement:
    return Requirement(
        groups=written.groups,
        required=written.require,
        people=written.people,
        on_call=written.on_call,
        all_of=tuple(_requirement(one) for one in written.all_of),
        any_of=tuple(_requirement(one) for one in written.any_of),
    )


def _escalation(written: str | model.OnTimeout) -> Escalation | None:
    if isinstance(written, str):
        return None
    to = written.escalate
    return Escalation(durations.seconds(to.timeout), to.groups, to.people, to.on_call)


def _seconds(text: str) -> float:
    """0: not given."""
    return durations.seconds(text) if text else 0
