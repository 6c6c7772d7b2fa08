"""Where channels' secrets come from: variables that begin with ASSENTRY_SECRET_, and files of one folder.

Only these, because whoever may write documents must not be able to have the control plane send away its keys or the
rest of its environment. Read again at every use, so a secret in a file is changed without a restart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from control_plane.kit.secret import Secret
from control_plane.notifications.documents import SecretSource
from control_plane.notifications.ports import Later

PREFIX: Final = "ASSENTRY_SECRET_"
_ENV: Final = re.compile(PREFIX + r"[A-Z0-9_]{1,64}", re.ASCII)
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_LARGEST: Final = 16_384

Environment = Callable[[str], str | None]


def source_problem(source: SecretSource) -> str:
    """What is wrong with it as it is written; empty: nothing."""
    if bool(source.env) == bool(source.file):
        return "give either {env: NAME} or {file: NAME}"
    if source.env and not _ENV.fullmatch(source.env):
        return f"a variable for a secret begins with {PREFIX} and has capitals, digits and _ only"
    if source.file and not _FILE.fullmatch(source.file):
        return "the name of a file in the folder of ASSENTRY_SECRETS_DIR, without any folder"
    return ""


class Secrets:
    def __init__(self, folder: Path, environment: Environment) -> None:
        self._folder = folder
        self._environment = environment

    def read(self, source: SecretSource) -> Secret:
        """Raises Later: it may be put where it belongs, and the delivery log says what is missing."""
        if problem := source_problem(source):
            raise Later(0, problem)
        value = self._variable(source.env) if source.env else self._file(source.file)
        if not value:
            raise Later(0, f"the secret {source.env or source.file} is empty")
        return Secret(value)

    def _variable(self, name: str) -> str:
        value = self._environment(name)
        if value is None:
            raise Later(0, f"the control plane has no environment variable {name}")
        return value.strip()

    def _file(self, name: str) -> str:
        try:
            with (self._folder / name).open(encoding="utf-8") as stream:
                text = stream.read(_LARGEST + 1)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise Later(0, f"the file {name} of the folder of secrets cannot be read: {why}") from None
        if len(text) > _LARGEST:
            raise Later(0, f"the file {name} is too large for a secret")
        return text.strip()
