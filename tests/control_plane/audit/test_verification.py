"""An export verifies offline with the public key only, and every kind of tampering is seen."""

from __future__ import annotations

import ast
import base64
import json
import subprocess
import sys
from collections.abc import Callable

import msgspec
import pytest

from control_plane.audit import repository, service, trail
from control_plane.audit.chain import (
    CHECKPOINT_CONTEXT,
    GENESIS,
    Checkpoint,
    canonical,
    checkpoint_bytes,
    entry_hash,
)
from control_plane.audit.sealed import opened
from control_plane.audit.verification import FORMAT, CheckpointLine, ExportLine, Line, Verification, verify
from control_plane.kit.keys import SigningKeys
from control_plane.kit.unit_of_work import SYSTEM, AuditEvent
from tests.control_plane.audit.batches import batch
from tests.support.sealing import files_of

Export = list[bytes]


EVENTS = (
    *(AuditEvent("policy.updated", SYSTEM, f"p{number}", {"text": "ünï\u202e\0", "n": number}) for number in range(3)),
    batch(3),
    AuditEvent("session.closed", SYSTEM, "ses_1"),
)
SIGNED = (3, 5)  # sequences that a checkpoint follows


@pytest.fixture(scope="module")
def signing_keys(tmp_path_factory: pytest.TempPathFactory) -> SigningKeys:
    return SigningKeys.open(folder := tmp_path_factory.mktemp("keys"), files_of(folder))


@pytest.fixture
def keys(signing_keys: SigningKeys) -> dict[str, bytes]:
    return {key.key_id: key.raw for key in signing_keys.public_keys()}


@pytest.fixture
def export(signing_keys: SigningKeys) -> Export:
    """Entries of many kinds, a batch of three decisions, a checkpoint in the middle and one at the end."""
    lines: list[Line] = [ExportLine(FORMAT, "test", 1, GENESIS.hex())]
    previous = GENESIS
    for sequence, event in enumerate(EVENTS, start=1):
        entry = trail._entry(sequence, event, 1_772_366_400_000)
        previous = entry_hash(previous, entry)
        lines.append(service._entry_line(repository.row_of(entry, previous)))
        if sequence in SIGNED:
            lines.append(signed(signing_keys, Checkpoint("test", sequence, previous.hex(), 1_772_366_400_000)))
    return [service._ndjson(line).rstrip() for line in lines]


def signed(signing_keys: SigningKeys, checkpoint: Checkpoint) -> CheckpointLine:
    signature = signing_keys.sign(CHECKPOINT_CONTEXT, checkpoint_bytes(checkpoint))
    text = base64.b64encode(signature.signature).decode()
    return CheckpointLine(**msgspec.structs.asdict(checkpoint), key_id=signature.key_id, signature=text)


def changed(line: bytes, **fields: object) -> bytes:
    return json.dumps({**json.loads(line), **fields}).encode()


def index_of(export: Export, kind: str) -> int:
    return next(i for i, line in enumerate(export) if json.loads(line).get("kind") == kind)


def test_an_untouched_export_is_intact(export: Export, keys: dict[str, bytes]):
    found = verify(export, keys)
    assert found.problems == ()
    assert found.intact
    assert found.events == found.entries + 2  # three decisions are one entry
    assert found.checkpoint is not None
    assert found.checkpoint.sequence == found.last_sequence


def test_every_decision_can_be_read_from_the_export(export: Export):
    line = json.loads(export[index_of(export, "operation.decided")])
    found = opened(base64.b64decode(line["sealed"]), line["data"])
    assert isinstance(found, tuple)
    assert [decision.operation for decision in found] == [1, 2, 3]


def broken(export: Export, keys: dict[str, bytes]) -> Verification:
    found = verify(export, keys)
    assert not found.intact
    return found


def flip_data(export: Export) -> Export:
    i = index_of(export, "policy.updated")
    return [*export[:i], changed(export[i], data={"n": 99}), *export[i + 1 :]]


def flip_actor(export: Export) -> Export:
    i = index_of(export, "policy.updated")
    return [*export[:i], changed(export[i], actor={"id": "x", "name": "x", "kind": "person"}), *export[i + 1 :]]


def flip_time(export: Export) -> Export:
    i = index_of(export, "session.closed")
    return [*export[:i], changed(export[i], at_ms=0), *export[i + 1 :]]


def flip_a_byte_of_a_batch(export: Export) -> Export:
    i = index_of(export, "operation.decided")
    sealed = bytearray(base64.b64decode(json.loads(export[i])["sealed"]))
    sealed[len(sealed) // 2] ^= 1
    return [*export[:i], changed(export[i], sealed=base64.b64encode(sealed).decode()), *export[i + 1 :]]


def put_another_batch_in_its_place(export: Export) -> Export:
    """A well-formed one that holds what was told."""
    i = index_of(export, "operation.decided")
    other = base64.b64encode(batch(3, action="write").sealed).decode()
    return [*export[:i], changed(export[i], sealed=other), *export[i + 1 :]]


def remove_an_entry(export: Export) -> Export:
    i = index_of(export, "policy.updated")
    return export[:i] + export[i + 1 :]


def take_a_batch_away(export: Export) -> Export:
    i = index_of(export, "operation.decided")
    return [*export[:i], changed(export[i], sealed=None), *export[i + 1 :]]


def give_a_batch_to_an_entry_without(export: Export) -> Export:
    i = index_of(export, "session.closed")
    return [*export[:i], changed(export[i], sealed=base64.b64encode(b"x").decode()), *export[i + 1 :]]


def change_what_was_told_of_a_batch(export: Export) -> Export:
    i = index_of(export, "operation.decided")
    return [*export[:i], changed(export[i], data=batch(2).data), *export[i + 1 :]]


def reorder(export: Export) -> Export:
    i = index_of(export, "policy.updated")
    return [*export[:i], export[i + 1], export[i], *export[i + 2 :]]


def repeat_an_entry(export: Export) -> Export:
    i = index_of(export, "policy.updated")
    return [*export[: i + 1], export[i], *export[i + 1 :]]


def truncate_after_a_checkpoint(export: Export) -> Export:
    return export[: index_of(export, "session.closed")]


def drop_the_last_checkpoint(export: Export) -> Export:
    return export[:-1]


def forge_the_last_checkpoint(export: Export) -> Export:
    return [*export[:-1], changed(export[-1], signature=base64.b64encode(bytes(64)).decode())]


def cut_the_beginning(export: Export) -> Export:
    head = changed(export[0], first_sequence=2)
    return [head, *export[2:]]


def drop_the_head(export: Export) -> Export:
    return export[1:]


def two_heads(export: Export) -> Export:
    return [export[0], *export]


def say_something_else_first(export: Export) -> Export:
    """What a decoder takes, the last of two, is as it was."""
    i = index_of(export, "session.closed")
    return [*export[:i], export[i].replace(b"{", b'{"kind":"nothing",', 1), *export[i + 1 :]]


def say_something_else_first_in_the_data(export: Export) -> Export:
    i = index_of(export, "policy.updated")
    return [*export[:i], export[i].replace(b'"data":{', b'"data":{"n":99,'), *export[i + 1 :]]


def garbage(export: Export) -> Export:
    return [*export, b"\xff{"]


def nothing(_export: Export) -> Export:
    return []


TAMPERINGS = (
    flip_data, flip_actor, flip_time, flip_a_byte_of_a_batch, put_another_batch_in_its_place, take_a_batch_away,
    give_a_batch_to_an_entry_without, change_what_was_told_of_a_batch, remove_an_entry, reorder, repeat_an_entry, truncate_after_a_checkpoint, drop_the_last_checkpoint, forge_the_last_checkpoint,
    cut_the_beginning, drop_the_head, two_heads, say_something_else_first, say_something_else_first_in_the_data, garbage,
    nothing,
)  # fmt: skip


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_tampering_is_seen(tamper: Callable[[Export], Export], export: Export, keys: dict[str, bytes]):
    assert not verify(tamper(export), keys).intact


def test_blanks_and_the_order_of_names_are_no_tampering(export: Export, keys: dict[str, bytes]):
    ordered = [b" " + json.dumps(json.loads(line), sort_keys=True).encode() + b"\r\n" for line in export]
    assert verify(ordered, keys).intact


def test_a_history_written_anew_is_seen_by_the_signature(export: Export, keys: dict[str, bytes]):
    """Whoever can compute hashes still cannot sign."""
    assert not verify(export, {key_id: bytes(31) + b"\1" for key_id in keys}).intact
    assert not verify(export, {}).intact


def test_an_export_cut_at_a_checkpoint_needs_a_newer_checkpoint_to_be_seen(export: Export, keys: dict[str, bytes]):
    middle = next(i for i, line in enumerate(export) if json.loads(line)["type"] == "checkpoint")
    cut = export[: middle + 1]
    assert verify(cut, keys).intact
    last = json.loads(export[-1])
    known = Checkpoint(last["deployment"], last["sequence"], last["hash"], last["at_ms"])
    assert verify(export, keys, known).intact
    assert "were signed" in verify(cut, keys, known).problems[0].message


def test_another_history_than_the_one_signed_before_is_seen(export: Export, keys: dict[str, bytes]):
    known = Checkpoint("test", 2, "ab" * 32, 0)
    assert "another history" in verify(export, keys, known).problems[0].message


def test_problems_name_their_line(export: Export, keys: dict[str, bytes]):
    i = index_of(export, "policy.updated")
    assert broken(flip_data(export), keys).problems[0].line == i + 1


@pytest.mark.parametrize("depth", [500, 900, 990, 995, 1000, 5000])
def test_a_line_that_is_nested_too_deeply_is_a_problem_like_any_other(
    export: Export, keys: dict[str, bytes], depth: int
):
    entry = json.loads(export[1])
    entry["data"] = json.loads("null")
    deep = json.dumps(entry).replace('"data": null', '"data": {"a": ' + "[" * depth + "]" * depth + "}")
    verified = verify([export[0], deep.encode(), *export[2:]], keys)
    assert 2 in {problem.line for problem in verified.problems}


def test_what_has_no_one_text_is_not_hashed():
    assert canonical({"b": [1, "é"], "a": None}) == b'{"a":null,"b":[1,"\\u00e9"]}'
    for value in (1.5, 2**63, float("nan")):
        with pytest.raises(TypeError):
            canonical({"a": [value]})


def test_verification_is_light():
    """The command line installs without the control plane's libraries."""
    code = (
        "import sys, control_plane.audit.verification;"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'fastapi', 'sqlalchemy', 'sqlmodel', 'pydantic', 'grpc', 'starlette', 'structlog'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(run.stdout) == []
