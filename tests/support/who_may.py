"""The README's table of who may do what, made from what routes and gRPC methods declare.

`python -m tests.support.who_may` writes it into the README; a test says when it is out of date.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from assentry.v1 import link_pb2 as pb
from google.protobuf.descriptor import ServiceDescriptor

from control_plane.agents.callers import Declared, declarations
from control_plane.agents.servicer import EnrolmentServicer, LinkServicer
from control_plane.api_tokens.domain import GIVABLE
from control_plane.app import create_app
from control_plane.assembly import ControlPlane
from control_plane.config import Settings
from control_plane.kit.access import MEANING, ROLES, Access, CredentialKind, Open, Permission, calls_of

README: Final = Path(__file__).resolve().parents[2] / "README.md"
BEGIN: Final = "<!-- who may do what: made by `python -m tests.support.who_may` -->\n"
END: Final = "<!-- end of who may do what -->\n"
CHANGES_NOTHING: Final = frozenset({"POST /v1/documents/plan"})  # although it is a POST
_SERVICES: Final[Mapping[str, type]] = {"Enrolment": EnrolmentServicer, "Link": LinkServicer}
_COLUMNS: Final[Mapping[CredentialKind, str]] = {
    "console": "browser",
    "cli": "command line",
    "api-token": "API token",
    "key": "key",
    "workload": "workload",
    "scim": "SCIM",
}
_HEAD: Final = ("permission", "what it is for", "roles that give it", *_COLUMNS.values())


def methods() -> Iterator[tuple[str, str, Declared]]:
    """Service, method and what it declares. Raises TypeError for one that declares nothing."""
    for name, servicer in _SERVICES.items():
        service: ServiceDescriptor = pb.DESCRIPTOR.services_by_name[name]
        for method, declared in declarations(service, servicer):
            yield name, method, declared


def table(calls: Mapping[str, Access | Open]) -> str:
    """`calls` by "METHOD /path"."""
    asked = [
        one for one in Permission if any(isinstance(call, Access) and call.permission is one for call in calls.values())
    ]
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(permission, calls) for permission in asked)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", _agents(), "", _open(calls), ""])


def _row(permission: Permission, calls: Mapping[str, Access | Open]) -> tuple[str, ...]:
    mine = {call: one for call, one in calls.items() if isinstance(one, Access) and one.permission is permission}
    roles = [role for role, given in ROLES.items() if permission in given]
    held = ", ".join(roles) or ("everybody" if permission is Permission.SELF else "none")
    cells = [_cell(call for call, one in mine.items() if _reaches(kind, one)) for kind in _COLUMNS]
    return (f"`{permission}`", MEANING[permission], held, *cells)


def _reaches(kind: CredentialKind, access: Access) -> bool:
    """An API token has few permissions, wherever it would be taken."""
    given = kind != "api-token" or access.permission is Permission.SELF or access.permission in GIVABLE
    return given and kind in access.by


def _cell(calls: Iterable[str]) -> str:
    """Whether what it reaches only reads."""
    found = list(calls)
    if not found:
        return "–"
    return "reads" if all(call.startswith("GET ") or call in CHANGES_NOTHING for call in found) else "yes"


def _agents() -> str:
    told: dict[str, list[str]] = {}
    for _, method, declared in methods():
        told.setdefault(declared.credential, []).append(f"`{method}` ({declared.permission})")
    each = [f"with {credential}: {', '.join(names)}" for credential, names in told.items()]
    return f"Agents call over gRPC, {'; '.join(each)}."


def _open(calls: Mapping[str, Access | Open]) -> str:
    paths = sorted({call.partition(" ")[2] for call, one in calls.items() if isinstance(one, Open)})
    return f"Open to whoever has no credential yet, or signs otherwise: {', '.join(f'`{path}`' for path in paths)}."


def written(text: str, made: str) -> str:
    """The README with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError("the README has no place for the table")
    return before + BEGIN + made + END + after


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ControlPlane(Settings(state_dir=Path(folder))))
        README.write_text(written(README.read_text(), table(calls_of(app.routes))))


if __name__ == "__main__":
    main()
