"""Checks an exported audit log offline: no entry changed, removed, added or moved. Needs the public keys only.

An export is NDJSON: an `export` line, then `entry` lines with `checkpoint` lines among them, the last line a
checkpoint. An entry that stands for a batch of decisions carries it as its agent packed it (`sealed`, base64). What
this cannot see: that an export was cut exactly at one of its checkpoints. Give the newest checkpoint that was seen
elsewhere as `known` and that is seen too. A batch that is as it came and yet cannot be read is the agent's doing: it is
told apart, as `unreadable`. A decision that a security key has signed must be signed as it says, see `signatures`.
Light on purpose: the command line uses it without the control plane's libraries.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from control_plane.audit.chain import CHECKPOINT_CONTEXT, GENESIS, Checkpoint, Entry, checkpoint_bytes, entry_hash
from control_plane.audit.sealed import Unreadable, opened
from control_plane.audit.signatures import Signatures

FORMAT = "assentry-audit/1"
ENOUGH = 100  # problems told; what follows them is not read


class ExportLine(msgspec.Struct, frozen=True, tag_field="type", tag="export", forbid_unknown_fields=True):
    format: str
    deployment: str
    first_sequence: int
    previous_hash: str  # hex; of the entry before the first


class EntryLine(msgspec.Struct, frozen=True, tag_field="type", tag="entry", forbid_unknown_fields=True):
    sequence: int
    at_ms: int
    kind: str
    actor: dict[str, str]
    subject: str
    data: dict[str, object]
    hash: str
    sealed: bytes | None = None  # base64 in the line


class CheckpointLine(msgspec.Struct, frozen=True, tag_field="type", tag="checkpoint", forbid_unknown_fields=True):
    deployment: str
    sequence: int
    hash: str
    at_ms: int
    key_id: str
    signature: str  # base64

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.deployment, self.sequence, self.hash, self.at_ms)


Line = ExportLine | EntryLine | CheckpointLine


class Problem(msgspec.Struct, frozen=True):
    line: int  # counts from 1; 0: the export as a whole
    message: str


class Verification(msgspec.Struct, frozen=True):
    entries: int
    events: int  # entries, a batch counted by its decisions
    first_sequence: int
    last_sequence: int
    checkpoint: CheckpointLine | None  # the last good one
    problems: tuple[Problem, ...]
    unreadable: tuple[Problem, ...] = ()  # batches that are as they came, and no decisions
    signed: int = 0  # decisions that a security key has signed, each of them checked

    @property
    def intact(self) -> bool:
        return not self.problems


def verify(
    lines: Iterable[str | bytes], public_keys: Mapping[str, bytes], known: Checkpoint | None = None
) -> Verification:
    """`public_keys`: raw Ed25519 keys by key id. Reads the lines once; bad input is a problem, never an exception."""
    verifier = _Verifier(public_keys, known)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                verifier.line(number, line)
            except RecursionError:
                verifier.wrong(number, "nested too deeply for a line of an audit export")
        if len(verifier.problems) >= ENOUGH:
            break
    return verifier.finish()


def _says_twice(text: str | bytes, line: Line) -> bool:
    """Whether an object names something twice, of which the decoder takes the last. An export's own line does not."""
    if msgspec.json.encode(line) == (text.encode() if isinstance(text, str) else text).strip():
        return False
    found = False

    def look(pairs: list[tuple[str, object]]) -> None:
        nonlocal found
        found = found or len({name for name, _ in pairs}) < len(pairs)

    json.loads(text, object_pairs_hook=look)
    return found


class _Verifier:
    def __init__(self, public_keys: Mapping[str, bytes], known: Checkpoint | None) -> None:
        self.problems: list[Problem] = []
        self._keys = public_keys
        self._known = known
        self._header: ExportLine | None = None
        self._hash = GENESIS
        self._sequence = 0
        self._entries = self._events = 0
        self._unreadable: list[Problem] = []
        self._checkpoint: CheckpointLine | None = None
        self._signatures = Signatures()

    def line(self, number: int, text: str | bytes) -> None:
        try:
            line = msgspec.json.decode(text, type=Line)
        except (msgspec.DecodeError, UnicodeError) as error:
            self.wrong(number, f"not a line of an audit export: {error}")
            return
        if _says_twice(text, line):
            self.wrong(number, "a name stands twice in one object: a reader may see another value than was checked")
        if self._header is None and not isinstance(line, ExportLine):
            self.wrong(number, "the first line is not the head of an export")
            self._header = ExportLine(FORMAT, "", 1, GENESIS.hex())
        if isinstance(line, ExportLine):
            self._head(number, line)
        elif isinstance(line, EntryLine):
            self._entry(number, line)
        else:
            self._signed(number, line)

    def finish(self) -> Verification:
        if self._header is None:
            read = len(self.problems)  # each of them one line that is none of an export
            none = f"none of the {read} lines read is one of an export: this is not what `assentry audit export` writes"
            self.problems[:] = [Problem(0, none if read else "the export is empty")]
        elif self._entries and (self._checkpoint is None or self._checkpoint.sequence != self._sequence):
            signed = self._checkpoint.sequence if self._checkpoint else 0
            self.wrong(0, f"the end is missing: no checkpoint signs what follows entry {signed}")
        if self._known is not None and self._known.sequence > self._sequence:
            self.wrong(0, f"entries up to {self._known.sequence} were signed, this export ends at {self._sequence}")
        first = self._header.first_sequence if self._header else 0
        return Verification(
            self._entries,
            self._events,
            first,
            self._sequence,
            self._checkpoint,
            tuple(self.problems[:ENOUGH]),
            tuple(self._unreadable),
            self._signatures.good,
        )

    def wrong(self, number: int, message: str) -> None:
        self.problems.append(Problem(number, message))

    def _head(self, number: int, line: ExportLine) -> None:
        if self._header is not None:
            self.wrong(number, "a second head: two exports were put together")
            return
        self._header = line
        if line.format != FORMAT:
            self.wrong(number, f"format {line.format!r} is not known; this reads {FORMAT}")
        self._sequence = line.first_sequence - 1
        self._hash = self._unhex(number, line.previous_hash)
        if line.first_sequence <= 1 and self._hash != GENESIS:
            self.wrong(number, "the first entry does not follow the beginning of the chain")

    def _entry(self, number: int, line: EntryLine) -> None:
        if line.sequence != self._sequence + 1:
            self.wrong(number, f"entry {self._sequence + 1} should stand here, not {line.sequence}")
        entry = Entry(line.sequence, line.at_ms, line.kind, line.actor, line.subject, line.data, line.sealed or b"")
        try:
            computed = entry_hash(self._hash, entry)
        except (TypeError, ValueError):
            computed = b""
        if computed.hex() != line.hash:
            self.wrong(number, f"entry {line.sequence} was changed, or the one before it")
        self._hash = self._unhex(number, line.hash)
        self._sequence = line.sequence
        self._entries += 1
        self._events += self._events_of(number, entry)
        self._compare_with_known(number)
        self._look_for_signature(number, entry)

    def _look_for_signature(self, number: int, entry: Entry) -> None:
        head = self._header or ExportLine(FORMAT, "", 0, "")
        if wrong := self._signatures.look(entry, head.deployment, from_the_beginning=head.first_sequence == 1):
            self.wrong(number, f"the decision of entry {entry.sequence} is not signed as it says: {wrong}")

    def _events_of(self, number: int, entry: Entry) -> int:
        found = opened(entry.sealed, entry.data) if entry.sealed else ()
        if isinstance(found, Unreadable):
            if len(self._unreadable) < ENOUGH:
                self._unreadable.append(Problem(number, f"the batch of entry {entry.sequence}: {found.reason}"))
            return 1
        return len(found) or 1

    def _compare_with_known(self, number: int) -> None:
        known = self._known
        if known is not None and known.sequence == self._sequence and known.hash != self._hash.hex():
            self.wrong(number, f"entry {self._sequence} is not the one that was signed before: another history")

    def _signed(self, number: int, line: CheckpointLine) -> None:
        if self._header is not None and line.deployment != self._header.deployment:
            self.wrong(number, f"the checkpoint belongs to deployment {line.deployment!r}")
        elif line.sequence != self._sequence or line.hash != self._hash.hex():
            self.wrong(number, f"the checkpoint signs entry {line.sequence} with another hash: history was changed")
        elif not self._signature_is_good(line):
            self.wrong(number, f"the signature of the checkpoint by key {line.key_id!r} is not good")
        else:
            self._checkpoint = line

    def _signature_is_good(self, line: CheckpointLine) -> bool:
        key = self._keys.get(line.key_id)
        if key is None:
            return False
        try:
            signature = base64.b64decode(line.signature, validate=True)
            payload = CHECKPOINT_CONTEXT + checkpoint_bytes(line.checkpoint)
            Ed25519PublicKey.from_public_bytes(key).verify(signature, payload)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    def _unhex(self, number: int, text: str) -> bytes:
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if len(raw) != len(GENESIS):
            self.wrong(number, "a hash is 64 hexadecimal digits")
            return GENESIS
        return raw
