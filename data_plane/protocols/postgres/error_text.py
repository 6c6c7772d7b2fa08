"""Takes protected values out of ErrorResponse and NoticeResponse. Pure. Fields as in chapter 55.8.

PostgreSQL quotes data in its messages: `invalid input syntax for type integer: "078-05-1120"`, `Key (ssn)=(…) already
exists`, `operator does not exist: 078-05-1120`, the arguments of RAISE. Kept are severity, SQLSTATE, the position in
the client's own text and where in the server's source it arose; detail, hint, context and names of objects are dropped.
The message is kept when it has a position (then the parser complains of what the client wrote), and for SQLSTATEs that
speak of names and states, where each word in quotes must be a name of the catalogue, with no more between two of them
than such messages have there, and each other word one that they are made of: values stand there without quotes too (`…
is not a valid encoding name`, `… with OID 1234 does not exist`). Whatever has a context comes out of a function and is
withheld, like all the rest. The client still learns from the SQLSTATE what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from data_plane.masking.marks import MARK

_KEPT: Final = frozenset(b"SVCPFLR")
_CLASSES_OF_NAMES: Final = frozenset(
    "00 01 08 0A 0B 24 25 26 28 2B 2D 34 3B 3D 3F 40 53 54 55 57".split()  # noqa: SIM905 - reads better without quotes
)
_STATES_OF_NAMES: Final = frozenset(
    "42501 42P01 42P03 42P04 42P05 42P06 42P07 42P16 42701 42703 42704 42710 42809 428C9 42939".split()  # noqa: SIM905
)
# What messages about names and states are made of. Not among these: words that only stand beside a value.
_WORDS: Final = frozenset(
    b"""
    a aborted access administrator already among an and any are at be because been before block blocks by can canceling
    cannot class column columns command commands concurrent conflict connection connections constraint could crash
    current cursor database deadlock declared denied dependencies detected does due dropped during end execute exist
    exists failed for foreign function has held idle ignored in index inside is it key lock materialized more must name
    no not nothing obtain of on only open operation option or other out outside owner parameter permission portal
    prepared primary procedure progress query read read-only read/write recovery recursive relation request reserved
    reset role row rows rule savepoint schema sequence serialize server session set shared skipping slots specified
    started statement statements such supported table tables temporary terminating than that the there this timeout to
    transaction transactions trigger type unrecognized until update updates use used user view was when while with
    within without work write yet
    """.split()
)
# Whole messages with other words, "" for what is in quotes.
_FORMS: Final = frozenset(
    b"""
    SET TRANSACTION ISOLATION LEVEL must be called before any query
    SET TRANSACTION [NOT] DEFERRABLE must be called before any query
    cached plan must not change result type
    cannot ALTER TABLE "" because it has pending trigger events
    cannot ALTER TABLE "" because it is being used by active queries in this session
    cannot CREATE INDEX "" because it has pending trigger events
    cannot CREATE INDEX "" because it is being used by active queries in this session
    cannot DROP TABLE "" because it has pending trigger events
    cannot DROP TABLE "" because it is being used by active queries in this session
    cannot TRUNCATE "" because it has pending trigger events
    cannot TRUNCATE "" because it is being used by active queries in this session
    cannot alter type of a column used by a view or rule
    cannot alter type of a column used in a policy definition
    cannot alter type of a column used in a trigger definition
    cannot change name of view column "" to ""
    cannot delete from view ""
    cannot drop columns from view
    cannot insert a non-DEFAULT value into column ""
    cannot insert into view ""
    cannot truncate a table referenced in a foreign key constraint
    cannot update view ""
    column "" can only be updated to DEFAULT
    could not serialize access due to concurrent delete
    currval of sequence "" is not yet defined in this session
    lastval is not yet defined in this session
    materialized view "" has not been populated
    new row violates row-level security policy for table ""
    out of memory
    permission denied to create database
    permission denied to create role
    role "" cannot be dropped because some objects depend on it
    stack depth limit exceeded
    terminating connection due to idle-in-transaction timeout
    terminating connection due to idle-session timeout
    terminating connection due to unexpected postmaster exit
    the database system is shutting down
    there is no unique constraint matching given keys for referenced table ""
    """.replace(b"    ", b"")
    .strip()
    .splitlines()
)
# Between two names that it quotes. Anything else there may be a value that has quotes in it.
_BETWEEN: Final = frozenset((b" of ", b" of relation ", b" for relation ", b" for table ", b" on table "))
_MOST_DOTS: Final = 2  # database.schema.relation
_RUNS: Final = re.compile(rb"[A-Z ]+ cannot run inside a transaction block")
_COMMAND: Final = re.compile(rb"[A-Z]{2,}")
# Those that name what there is without quotes.
_OF_OBJECTS: Final = re.compile(
    rb"(?:permission denied for|must be owner of) [a-z -]+ [^\s0-9][^\s]*"
    rb"|cannot drop [a-z -]+ [^\s0-9][^\s]* because other objects depend on it"
    rb"|drop cascades to (?:[0-9]+ other objects|[a-z -]+ [^\s0-9][^\s]*)"
)
_SAID_INSTEAD: Final = {
    b"23502": b"a value that must not be null is null",
    b"23503": b"a foreign key constraint is violated",
    b"23505": b"a unique constraint is violated: such a row exists",
    b"23514": b"a check constraint is violated",
    b"22001": b"a value is too long for its type",
    b"22003": b"a number is out of range",
    b"22012": b"division by zero",
    b"22P02": b"a value does not have the syntax of its type",
    b"P0001": b"a function raised an error",
    b"00000": b"a function raised a notice",
    b"01000": b"a function raised a warning",
}
_WITHHELD: Final = b" (the message is withheld: it may quote masked data)"


def without_values(payload: bytes, is_name: Callable[[str], bool]) -> bytes:
    """The payload with only what cannot hold data; `is_name` knows the identifiers that may be told."""
    fields = {field[0]: field[1:] for field in reversed(payload.split(b"\0")) if field}  # the first of its kind wins
    kept = [bytes([code]) + value for code, value in reversed(fields.items()) if code in _KEPT]
    if ord("M") in fields:
        kept.append(b"M" + _message(fields, is_name))
    return b"".join(field + b"\0" for field in kept) + b"\0"


def _message(fields: Mapping[int, bytes], is_name: Callable[[str], bool]) -> bytes:
    message, state = fields[ord("M")], fields.get(ord("C"), b"XX000")
    if not (ord("W") in fields or ord("q") in fields):
        if ord("P") in fields:
            return message
        if _speaks_of_names(state.decode("latin-1")) and message.isascii():
            readable = _readable(message, is_name)
            if readable is not None:
                return readable
    return _SAID_INSTEAD.get(state, b"SQLSTATE " + state) + _WITHHELD


def _speaks_of_names(state: str) -> bool:
    return state[:2] in _CLASSES_OF_NAMES or state in _STATES_OF_NAMES


def _readable(message: bytes, is_name: Callable[[str], bool]) -> bytes | None:
    """As it is when all that it quotes are names; else one mark from the first quote to the last. None: it may tell a
    value outside of quotes."""
    if _OF_OBJECTS.fullmatch(message) or _RUNS.fullmatch(message):
        return message
    parts = message.split(b'"')
    known = b'""'.join(parts[::2]) in _FORMS
    plain = known or _BETWEEN.issuperset(parts[2:-1:2])
    if len(parts) > 2 and not (plain and len(parts) % 2 == 1 and _names(parts[1::2], is_name)):
        parts = [parts[0], MARK, parts[-1]]
    said = known or all(_is_said(word, is_name) for part in parts[::2] for word in part.split())
    return b'"'.join(parts) if said and len(parts) % 2 == 1 else None


def _names(quoted: list[bytes], is_name: Callable[[str], bool]) -> bool:
    return all(text.count(b".") <= _MOST_DOTS and all(map(is_name, text.decode().split("."))) for text in quoted)


def _is_said(word: bytes, is_name: Callable[[str], bool]) -> bool:
    if word.endswith(b"()"):
        return is_name(word[:-2].decode())
    word = word.rstrip(b",;:")
    return not word or word in _WORDS or _COMMAND.fullmatch(word) is not None
