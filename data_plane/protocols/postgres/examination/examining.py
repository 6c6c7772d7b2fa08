"""Looks at one target as the agent's own account, and answers what was found and the SQL that sets it up.

Options: `database`, which one to look at where the target leaves that to clients; `masks`, `closed` (no role may read
what policy masks whoever asks) or `agent` (masking is the agent's business).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from data_plane.policy import table_reach
from data_plane.protocols.interface import ExaminationError, Examined
from data_plane.protocols.postgres.examination import findings, needs, reading, script
from data_plane.protocols.postgres.examination.needs import Needs, Question
from data_plane.protocols.postgres.examination.rights import Rights
from data_plane.protocols.postgres.interface import Classifier

CLOSED, LEFT_TO_THE_AGENT = "closed", "agent"
_MOST_LISTED: Final = 200


async def examine(examined: Examined, classifier: Classifier) -> dict[str, Any]:
    question, database = asked(examined), _database(examined)
    try:
        rights = await reading.read(examined.spec, database, examined.credential)
    except ConnectionError as error:
        raise ExaminationError(str(error)) from error
    return await asyncio.to_thread(_answer, question, rights, classifier)


def asked(examined: Examined) -> Question:
    masks = examined.options.get("masks", CLOSED)
    if masks not in (CLOSED, LEFT_TO_THE_AGENT):
        raise ExaminationError(f"masks: {masks!r} is neither {CLOSED!r} nor {LEFT_TO_THE_AGENT!r}")
    return Question(
        target=examined.target.name,
        roles=examined.spec.credential.session_roles,
        reaches=table_reach.reached(examined.policies, examined.target),
        masks=examined.masks,
        one_database=bool(examined.spec.database),
        close_masked=masks == CLOSED,
        preview=examined.preview,
        dry_run=examined.spec.preview.dry_run,
    )


def _database(examined: Examined) -> str:
    wanted, own = examined.options.get("database", ""), examined.spec.database
    if wanted and own and wanted != own:
        raise ExaminationError(f"the target is the database {own!r} and no other")
    if not (wanted or own):
        raise ExaminationError("clients choose the database of this target: say which one to look at (--database)")
    return wanted or own


def _answer(question: Question, rights: Rights, classifier: Classifier) -> dict[str, Any]:
    """Much work where there are many tables, so not in the thread that serves sessions."""
    needed = needs.needs(question, rights, classifier)
    found = findings.findings(question, rights, needed)
    return {
        "target": question.target,
        "database": rights.database,
        "account": rights.account,
        "server_version": rights.version,
        "findings": [msgspec.to_builtins(_short(one)) for one in found],
        "sql": script.script(question, rights, needed),
        "account_to_use": script.account_for(question, rights),
        "session_roles": _session_roles(needed),
    }


def _short(finding: findings.Finding) -> findings.Finding:
    """An answer travels as one message; the script has all of it."""
    return msgspec.structs.replace(finding, things=finding.things[:_MOST_LISTED], sql=finding.sql[:_MOST_LISTED])


def _session_roles(needed: Needs) -> Mapping[str, Any]:
    """As a target's document has them."""
    return {"roles": {action: list(names) for action, names in needed.roles.roles.items()}, "owner": needed.owner}
