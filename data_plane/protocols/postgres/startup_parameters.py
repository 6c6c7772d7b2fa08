"""Which settings a client may bring along in its StartupMessage, also inside `options`. Pure.

Everything that is not listed is refused: a setting can change what later statements mean. So are values that SET may
give only with leave: nobody could be asked here. `options` is read as the
server reads it (`-c name=value`, `-cname=value`, `--name=value`, backslash escapes) and never passed on as text.
Follows "StartupMessage" (55.7) and `pg_split_opts`, `process_postgres_switches` of the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from data_plane.gate.interface import Action
from data_plane.protocols.postgres.framing import RemoteProtocolError
from data_plane.protocols.postgres.interface import REASON
from data_plane.protocols.postgres.statements.settings import action_of

ALLOWED: Final = frozenset(
    {
        REASON,
        "application_name",
        "bytea_output",
        "client_encoding",
        "client_min_messages",
        "datestyle",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "intervalstyle",
        "jit",
        "lock_timeout",
        "search_path",
        "statement_timeout",
        "timezone",
    }
)

PINNED: Final = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}
"""What the agent sets itself: statements are read under exactly these."""

REFUSED: Final = "42501"


def settings(parameters: Mapping[str, str]) -> dict[str, str]:
    """The settings for the target, names in lower case; explicit parameters win over `options`, pins over all.

    `parameters` are those of the StartupMessage without user, database, replication and `_pq_.` options.
    Raises RemoteProtocolError (42501) for what is not allowed."""
    wanted = dict(_options(parameters.get("options", "")))
    wanted |= {name.lower(): value for name, value in parameters.items() if name != "options"}
    for name in wanted:
        if name not in ALLOWED and name not in PINNED:
            raise RemoteProtocolError(
                f'startup parameter "{name}" is not allowed; allowed are {", ".join(sorted(ALLOWED))}', REFUSED
            )
    for name, value in wanted.items():
        if name in ALLOWED and action_of(name, value) is not Action.SESSION:
            raise RemoteProtocolError(f'startup parameter "{name}" may not be "{value}" here', REFUSED)
    strings = wanted.get("standard_conforming_strings", "on").lower()
    if strings not in ("on", "true", "yes", "1"):
        raise RemoteProtocolError("standard_conforming_strings must stay on", REFUSED)
    return wanted | PINNED


def _options(text: str) -> Iterator[tuple[str, str]]:
    words = iter(_words(text))
    for word in words:
        if word == "-c":
            setting = next(words, "")
        elif word.startswith("-c") or (word.startswith("--") and len(word) > 2):
            setting = word[2:]
        else:
            raise RemoteProtocolError(f'"{word}" in startup parameter "options" is not allowed', REFUSED)
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise RemoteProtocolError(f'"{setting}" in startup parameter "options" is not name=value', REFUSED)
        yield name.replace("-", "_").lower(), value


def _words(text: str) -> Iterator[str]:
    """Splits at white space; a backslash takes the next character as it is."""
    word: list[str] = []
    characters = iter(text)
    inside = False
    for character in characters:
        if character in " \t\n\r\v\f":
            if inside:
                yield "".join(word)
            word, inside = [], False
            continue
        inside = True
        word.append(next(characters, "") if character == "\\" else character)
    if inside:
        yield "".join(word)
