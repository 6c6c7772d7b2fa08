"""The control plane's settings, from the environment (`ASSENTRY_…`) only. The one place that reads it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from control_plane.approvals.limits import Limits
from control_plane.db.engine import parse_url
from control_plane.notifications.config import NotificationSettings
from control_plane.secrets.config import SecretSettings
from control_plane.slack.config import SlackSettings


class Address(msgspec.Struct, frozen=True):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Settings(SlackSettings, NotificationSettings, SecretSettings):
    model_config = SettingsConfigDict(env_prefix="ASSENTRY_", frozen=True, extra="ignore")

    state_dir: Path = Path("/var/lib/assentry/control-plane")
    database_url: str = Field(default="", repr=False)  # empty: SQLite in the state directory
    http_address: str = "127.0.0.1:8080"
    grpc_address: str = "127.0.0.1:7443"
    enrolment_address: str = ""  # where agents enrol; empty: the next port of the gRPC address
    public_url: str = ""  # where people reach the console; empty: http:// and the HTTP address
    deployment: str = Field(default="assentry", pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")
    admin_name: str = "admin"
    admin_password_file: Path | None = None
    local_sign_in: Literal["on", "off"] = "on"  # off: nobody has a password here, only identity providers
    session_hours: int = Field(default=12, ge=1, le=24)
    sign_on_refresh_minutes: int = Field(default=15, ge=1, le=1440)  # how often providers are asked who is still there
    requester_waiting: int = Field(default=50, ge=1)  # requests of one requester that may wait for people
    requester_per_minute: int = Field(default=200, ge=1)  # more requests than this lock the requester
    requester_lock_minutes: int = Field(default=15, ge=1, le=1440)
    lease_seconds: int = Field(default=60, ge=5, le=3600)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("http_address", "grpc_address", "enrolment_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value:
            parse_address(value)
        return value

    @field_validator("database_url")
    @classmethod
    def _is_database(cls, value: str) -> str:
        if value:
            try:
                parse_url(value)
            except ArgumentError as error:
                raise ValueError("use sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME") from error
        return value

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("begins with https:// (or http:// on one machine)")
        return value.rstrip("/")

    @property
    def database(self) -> URL:
        return parse_url(self.database_url or f"sqlite:///{self.state_dir / 'control-plane.sqlite3'}")

    @property
    def http(self) -> Address:
        return parse_address(self.http_address)

    @property
    def grpc(self) -> Address:
        return parse_address(self.grpc_address)

    @property
    def url(self) -> str:
        return self.public_url or f"http://{self.http}"

    @property
    def limits(self) -> Limits:
        return Limits(self.requester_waiting, self.requester_per_minute, self.requester_lock_minutes * 60)

    @property
    def sign_on_refresh(self) -> timedelta:
        return timedelta(minutes=self.sign_on_refresh_minutes)

    @property
    def session_lifetime(self) -> timedelta:
        return timedelta(hours=self.session_hours)


def parse_address(text: str) -> Address:
    """`host:port`, an IPv6 host in brackets. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise ValueError(f"{text!r} is not host:port")
    return Address(host.strip("[]"), int(port))
