"""What of a request must be read as it is: each part goes into a box of its own, and what a box hides is counted. Pure.

All text arrives here made visible (kit/display), by the schemas of approvals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from control_plane.approvals.asked_schemas import OperationOut, ParameterOut
from control_plane.approvals.impact_schemas import DryRunOut, ImpactOut
from control_plane.approvals.schemas import ApprovalOut
from control_plane.kit.display import visible
from control_plane.slack.blocks import one_line


class Part(msgspec.Struct, frozen=True):
    label: str
    text: str

    @property
    def bytes(self) -> int:
        return len(self.text.encode("utf-8", "surrogatepass"))


def parts(out: ApprovalOut) -> Iterator[Part]:
    yield Part("Complete:", out.text)
    if out.operation is not None:
        yield from _operation(out.operation)
    if out.plan is not None:
        order = "in this order" if out.plan.ordered else "in any order"
        state = [f"in a session with {name} = {value}" for name, value in out.plan.session_state.items()]
        yield Part("Each runs once, exactly as written:", "\n".join([order, *state]))
    if out.said:
        yield Part("The requester says (not verified):", out.said)
    if out.impact is not None:
        yield Part(
            "What it would touch, as its agent looked it up:", "\n".join(_impact(out.impact)) or "nothing is known"
        )


def _operation(operation: OperationOut) -> Iterator[Part]:
    if operation.parameters:
        yield Part("Parameters:", "\n".join(_parameter(one) for one in operation.parameters))
    if operation.raw_hex:
        yield Part("Bytes beyond the text, in hexadecimal:", operation.raw_hex)
    known = [f"touches {one.kind} {one.name} ({'/'.join(one.access)})" for one in operation.resources]
    known += [f"{visible(name)}: {_words(value)}" for name, value in operation.facts.items() if _tells(name, value)]
    known += [f"in a session with {name} = {value}" for name, value in operation.session_state.items()]
    if known:
        yield Part("What is known of it:", "\n".join(known))


def _impact(impact: ImpactOut) -> Iterator[str]:
    yield from (f"{fact.name}: {one_line(fact.value)}" for fact in impact.facts)
    for figure in (impact.estimate, impact.count, impact.dry_run):
        if figure is not None:
            rows = f"{figure.rows:,} rows" if figure.rows is not None else f"no figure: {one_line(figure.missing)}"
            yield f"{rows} ({figure.label})"
    if impact.dry_run is not None:
        yield from _dry_run(impact.dry_run)
    yield from (one_line(note) for note in impact.notes)


def _dry_run(run: DryRunOut) -> Iterator[str]:
    for table in run.tables:
        yield f"{table.table}: {table.inserted:,} inserted, {table.updated:,} updated, {table.deleted:,} deleted"
    if run.keys is not None:
        keys = "; ".join(one_line(", ".join(row)) for row in run.keys.rows)
        yield f"some of their keys ({', '.join(run.keys.columns)}): {keys}"
    yield f"it took {run.milliseconds:,} ms"
    yield from (f"not rolled back: {one_line(kept)}" for kept in run.kept)


def _parameter(parameter: ParameterOut) -> str:
    value = "NULL" if parameter.null else one_line(parameter.value)
    note = "" if parameter.decoded or parameter.null else " (hexadecimal: could not be decoded)"
    return f"{parameter.name} {parameter.type} = {value}{note}"


def _tells(name: str, value: Any) -> bool:
    """What is not the case goes without saying; a WHERE that is missing does not."""
    return name.endswith("has_where") or value not in (False, "", [], {}, -1, None)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_words(one) for one in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{visible(str(name))} {_words(one)}" for name, one in value.items()) or "none"
    return visible(str(value))
