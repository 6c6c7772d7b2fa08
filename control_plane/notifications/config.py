"""The settings of notifications (`ASSENTRY_SECRETS_DIR`, `ASSENTRY_NOTIFY_NETWORKS`), and secrets in variables."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import field_validator
from pydantic_settings import BaseSettings

from control_plane.notifications.outgoing import Network


class NotificationSettings(BaseSettings):
    """The control plane's settings inherit these."""

    secrets_dir: Path = Path("/etc/assentry/secrets")  # files that documents may name
    notify_networks: str = ""  # 10.20.0.0/16,127.0.0.0/8: private networks that channels may reach, by plain http too

    @field_validator("notify_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @property
    def networks(self) -> Sequence[Network]:
        return parse_networks(self.notify_networks)


def parse_networks(text: str) -> list[Network]:
    """Raises ValueError."""
    try:
        return [ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(f"networks as 10.20.0.0/16, with commas between them: {error}") from error


def variable(name: str) -> str | None:
    """Of the process, as it is now."""
    return os.environ.get(name)
