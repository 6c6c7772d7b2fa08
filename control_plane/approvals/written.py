"""An ApprovalChain as it is written becomes the chain of the domain: seconds, and what is left out said. Pure."""

from __future__ import annotations

from control_plane.approvals.domain import Chain, Escalation, Requirement, RowGuard, Stage, Window
from data_plane.policy import durations, model
from data_plane.policy.chains import deciding_channels


def chain_of(name: str, spec: model.ChainSpec) -> Chain:
    """Of a document that has been validated."""
    window, guard, proof = spec.window, spec.row_guard, spec.proof or model.Reauthenticate()
    return Chain(
        name,
        tuple(_stage(stage) for stage in spec.stages),
        durations.seconds(spec.execute_within),
        break_glass=spec.break_glass,
        channels=_channels(spec),
        reauthenticate_seconds=_seconds(proof.within),
        security_key=proof.method == "security-key",
        acr=proof.acr,
        amr=proof.amr,
        approve_within_seconds=_seconds(spec.approve_within),
        remind_every_seconds=_seconds(spec.remind_every),
        window=Window(durations.seconds(window.longest), window.most) if window else None,
        row_guard=RowGuard(guard.margin_percent, guard.margin_rows, guard.required) if guard else None,
    )


def _channels(spec: model.ChainSpec) -> tuple[str, ...]:
    if spec.channels is not None:
        return spec.channels
    return deciding_channels(spec.proof) if spec.proof else ()


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
