"""Where the command finds its control plane and its sign-in: environment first, then the file that `login` writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from control_plane.cli.errors import CommandError

DEFAULT_URL: Final = "http://127.0.0.1:8080"


class Profile(msgspec.Struct, frozen=True):
    """`token` is a session token of a person or a key of a machine; empty: not signed in.

    `addresses`: where the agents of targets listen, as `connect` was told last."""

    url: str
    token: str = ""
    addresses: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Profile({self.url!r}, ***)"


def profile_path() -> Path:
    """`$ASSENTRY_PROFILE`, else `assentry/profile.json` in the user's configuration folder."""
    if named := os.environ.get("ASSENTRY_PROFILE"):
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "assentry" / "profile.json"


def runtime_folder() -> Path:
    """Where what is gone with the user's session may lie: below `$XDG_RUNTIME_DIR`, else beside the profile."""
    if given := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(given) / "assentry"
    return profile_path().parent


def kubernetes_exec_info() -> str:
    """What kubectl tells an exec plugin; empty: it is not kubectl that asks."""
    return os.environ.get("KUBERNETES_EXEC_INFO", "")


def missing_profile() -> str:
    """What to do when ASSENTRY_PROFILE names a file that is not there; empty: it is there, or none is named."""
    path = profile_path()
    if not os.environ.get("ASSENTRY_PROFILE") or path.exists():
        return ""
    return (
        f"{path}: ASSENTRY_PROFILE names this file, and there is none: sign in with `assentry login`, correct the "
        "variable, or set ASSENTRY_URL and ASSENTRY_TOKEN"
    )


def stored_profile(*, new: bool = False) -> Profile:
    """What the file says; `new`: one that ASSENTRY_PROFILE names need not be there yet. Raises CommandError."""
    path = profile_path()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except FileNotFoundError as error:
        if not new and (missing := missing_profile()):
            raise CommandError(missing) from error
        return Profile(DEFAULT_URL)
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: not a profile ({error}): remove it and `assentry login` again") from error


def load_profile() -> Profile:
    """ASSENTRY_URL and ASSENTRY_TOKEN win over the file. Raises CommandError."""
    stored = stored_profile(new=bool(os.environ.get("ASSENTRY_URL")))
    token = (os.environ.get("ASSENTRY_TOKEN") or stored.token).strip()
    if not (token.isascii() and token.isprintable()):
        raise CommandError("ASSENTRY_TOKEN holds characters that no token has")
    return Profile(known_url(stored), token, stored.addresses)


def known_url(stored: Profile) -> str:
    """Where the control plane is: ASSENTRY_URL wins over the file. Raises CommandError."""
    return checked_url(os.environ.get("ASSENTRY_URL") or stored.url)


def is_of_the_environment(token: str) -> bool:
    """Whether ASSENTRY_TOKEN gave it, whatever the file says."""
    return bool(token) and token == os.environ.get("ASSENTRY_TOKEN", "").strip()


def checked_url(url: str) -> str:
    """Without the slash at its end. Raises CommandError."""
    if not url.startswith(("https://", "http://")):
        raise CommandError(f"{url!r} is not the URL of a control plane: it begins with https:// or http://")
    return url.rstrip("/")


def save_profile(profile: Profile) -> Path:
    """Where `load_profile` finds it again. Raises CommandError."""
    path = profile_path()
    try:
        save_profile_to(path, profile)
    except OSError as error:
        raise CommandError(
            f"{path}: cannot be written: {error.strerror}; ASSENTRY_PROFILE names another file"
        ) from error
    return path


def save_profile_to(path: Path, profile: Profile) -> None:
    """Writes the file so that only this user can read it."""
    write_private(path, msgspec.json.encode(profile))


def write_private(path: Path, content: bytes) -> None:
    """The whole file or none of it, readable by this user only; its folder is made when it is not there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(path)


def shows_a_browser() -> bool:
    """Whether this process runs where somebody sees a browser: one in the terminal would take that away."""
    if os.environ.get("BROWSER"):
        return True
    if os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def client_environment(**changes: str) -> dict[str, str]:
    """This process's environment with changes, for a client or a plane that the command starts."""
    return {**os.environ, **changes}
