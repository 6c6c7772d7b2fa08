"""Where the command finds its control plane and its sign-in: environment first, then the file that `login` writes."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

DEFAULT_URL = "http://127.0.0.1:8080"


class Profile(msgspec.Struct, frozen=True):
    """`token` is a session token of a person or a machine; empty: not signed in."""

    url: str
    token: str = ""


def profile_path() -> Path:
    """`$ASSENTRY_PROFILE`, else `assentry/profile.json` in the user's configuration folder."""
    if named := os.environ.get("ASSENTRY_PROFILE"):
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME", "~/.config")).expanduser() / "assentry" / "profile.json"


def load_profile() -> Profile:
    """ASSENTRY_URL and ASSENTRY_TOKEN win over the file."""
    stored = Profile(DEFAULT_URL)
    path = profile_path()
    if path.is_file():
        stored = msgspec.json.decode(path.read_bytes(), type=Profile)
    return Profile(os.environ.get("ASSENTRY_URL", stored.url), os.environ.get("ASSENTRY_TOKEN", stored.token))


def save_profile(profile: Profile) -> Path:
    """Where `load_profile` finds it again."""
    path = profile_path()
    save_profile_to(path, profile)
    return path


def save_profile_to(path: Path, profile: Profile) -> None:
    """Writes the file so that only this user can read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(profile))
    path.chmod(0o600)


def client_environment(**changes: str) -> dict[str, str]:
    """This process's environment with changes, for a client or a plane that the command starts."""
    return {**os.environ, **changes}
