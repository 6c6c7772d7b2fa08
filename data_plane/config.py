"""The agent's configuration: one TOML file. The only place of the data plane that reads files and environment for it.

Every mistake is told with the file and the field (for TOML syntax also the line) and what to do. File names in it are
relative to the folder of the configuration file.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args, get_type_hints

import msgspec

from data_plane.credentials.configured import Place
from data_plane.credentials.ports import CredentialError
from data_plane.credentials.settings import CredentialSettings, VaultAuth, VaultServer
from data_plane.credentials.stored import account
from data_plane.policy.pins import Pin
from data_plane.runtime.secret import Secret

T = TypeVar("T", bound=msgspec.Struct)
V = TypeVar("V", bound=VaultServer)
_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`")
_MOST_WORKERS: Final = 64


# The kernel takes 107 bytes for the path of a socket; the longest one is that of a worker's metrics.
_LONGEST_STATE: Final = 107 - len("/workers/worker-999.metrics")


class ConfigError(Exception):
    """`args[0]` names the file and the field and says what to do."""


class Address(msgspec.Struct, frozen=True):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class TargetSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One endpoint of this agent; what the target itself is comes in the snapshot under the same name."""

    listen: str
    username: str = ""  # empty: the secret names it, or Vault does
    password_file: str = ""
    password_env: str = ""
    client_tls: Literal["optional", "required"] = "optional"
    preview_username: str = ""  # another account, for impact previews; empty: there are none
    preview_password_file: str = ""
    preview_password_env: str = ""
    credential: CredentialSettings = CredentialSettings()  # in place of a password here
    pin_address: str = ""  # what the target's document must say, or it is not served; empty: whatever it says
    pin_ca_file: str = ""  # likewise, the authority of its certificate


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    state: str
    control_plane: str  # the link; enrolment is beside it, on the next port, unless told
    control_plane_ca: str
    targets: dict[str, TargetSettings]
    enrolment: str = ""
    join_token_file: str = ""
    listen_names: tuple[str, ...] = ()
    metrics: str = "127.0.0.1:9464"
    workers: int = 1
    spool_bytes: int = 4 << 30
    drain_seconds: float = 30
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class Config(msgspec.Struct, frozen=True):
    """Settings that were checked, with addresses taken apart and secrets read."""

    settings: Settings
    file: Path
    state: Path
    enrolment: str
    metrics: Address
    listeners: dict[str, Address]
    places: dict[str, Place]  # of the targets whose account this file tells; of the others, their document must
    preview_places: dict[str, Place]  # of the targets that have a preview account
    pins: dict[str, Pin]

    def cannot_listen(self, field: str, address: Address, error: OSError) -> ConfigError:
        advice = "; stop what listens there, or choose another port" if error.errno == errno.EADDRINUSE else ""
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        return ConfigError(f"{self.file}: {field}: cannot listen on {address}: {why.lower()}{advice}")

    @property
    def control_plane_ca(self) -> bytes:
        return _read(self.file, "control_plane_ca", self.settings.control_plane_ca)

    @property
    def join_token(self) -> Secret:
        if not self.settings.join_token_file:
            raise ConfigError(f"{self.file}: this agent is not enrolled yet and join_token_file is not set")
        return Secret(_read(self.file, "join_token_file", self.settings.join_token_file).decode().strip())


def load(file: Path) -> Config:
    """Raises ConfigError."""
    settings = _settings(file)
    link = _address(file, "control_plane", settings.control_plane)
    metrics = _address(file, "metrics", settings.metrics)
    if metrics.host not in {"127.0.0.1", "::1", "localhost"}:
        raise ConfigError(f"{file}: metrics: must be a loopback address, it is not protected")
    if not 1 <= settings.workers <= _MOST_WORKERS:
        raise ConfigError(f"{file}: workers: must be from 1 to {_MOST_WORKERS}")
    if settings.enrolment:
        _address(file, "enrolment", settings.enrolment)
    state = file.parent / settings.state
    if len(os.fsencode(state)) > _LONGEST_STATE:
        raise ConfigError(
            f"{file}: state: {state} is too long for sockets; take a path of {_LONGEST_STATE} bytes at most"
        )
    targets = settings.targets.items()
    return Config(
        settings=settings,
        file=file,
        state=state,
        enrolment=settings.enrolment or f"{settings.control_plane.rpartition(':')[0]}:{link.port + 1}",
        metrics=metrics,
        listeners={name: _address(file, f"targets.{name}.listen", target.listen) for name, target in targets},
        places=dict(_places(file, targets)),
        preview_places=dict(_preview_places(file, targets)),
        pins=dict(_pins(file, targets)),
    )


def _settings(file: Path) -> Settings:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    targets = tables.pop("targets", None)
    if not isinstance(targets, dict) or not targets:
        raise ConfigError(f"{file}: targets: write a table [targets.NAME] for at least one target")
    known = {name: _converted(file, f"targets.{name}", TargetSettings, table) for name, table in targets.items()}
    return msgspec.structs.replace(_converted(file, "", Settings, tables | {"targets": {}}), targets=known)


def _converted(file: Path, table: str, shape: type[T], values: Mapping[str, object]) -> T:
    try:
        return msgspec.convert(values, shape)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$.")
        field = ".".join(part for part in (table, path.rstrip("`")) if part)
        unknown = _UNKNOWN.search(text)
        if unknown is not None:
            known = _shape_at(shape, path.rstrip("`")).__struct_fields__
            near = difflib.get_close_matches(unknown[1], known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            text = f"unknown field {unknown[1]!r}; {hint}"
        if text.startswith("Invalid enum value"):
            choices = get_args(get_type_hints(shape)[field.rpartition(".")[2]])
            text = f"{text}; choose one of: {', '.join(choices)}"
        where = f"{field}: " if field else ""
        raise ConfigError(f"{file}: {where}{text[0].lower()}{text[1:]}") from error


def _shape_at(shape: type[msgspec.Struct], path: str) -> type[msgspec.Struct]:
    """That of a table within the table."""
    for part in path.split(".") if path else ():
        hint = get_type_hints(shape)[part]
        shape = next((one for one in get_args(hint) if one is not type(None)), hint)
    return shape


def _address(file: Path, field: str, text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"{file}: {field}: {text!r} is not host:port")
    return Address(host.strip("[]"), int(port))


def _places(file: Path, targets: Iterable[tuple[str, TargetSettings]]) -> Iterator[tuple[str, Place]]:
    for name, target in targets:
        chosen = [f"credential.{place}" for place in target.credential.chosen]
        chosen += [field for field in ("password_file", "password_env") if getattr(target, field)]
        if len(chosen) > 1:
            raise ConfigError(f"{file}: targets.{name}: {' and '.join(chosen)}: choose one of them")
        if target.credential.chosen:
            yield name, _credential(_Field(file, f"targets.{name}"), target)
        elif chosen:
            yield name, _password(file, name, target.username, target.password_file, target.password_env)


def _pins(file: Path, targets: Iterable[tuple[str, TargetSettings]]) -> Iterator[tuple[str, Pin]]:
    for name, target in targets:
        if target.pin_ca_file and not target.pin_address:
            raise ConfigError(f"{file}: targets.{name}.pin_address: pin_ca_file needs it")
        if target.pin_address:
            ca = _read(file, f"targets.{name}.pin_ca_file", target.pin_ca_file).decode() if target.pin_ca_file else ""
            yield name, Pin(target.pin_address, ca)


def _preview_places(file: Path, targets: Iterable[tuple[str, TargetSettings]]) -> Iterator[tuple[str, Place]]:
    for name, target in targets:
        given = target.preview_password_file, target.preview_password_env
        if target.preview_username and target.preview_username == target.username:
            raise ConfigError(f"{file}: targets.{name}.preview_username: must be another account than username")
        if target.preview_username:
            yield name, _password(file, name, target.preview_username, *given, prefix="preview_")
        elif any(given):
            raise ConfigError(f"{file}: targets.{name}.preview_username: a preview password needs it")


def _password(file: Path, name: str, username: str, from_file: str, from_env: str, prefix: str = "") -> Place:
    """The file is read again at each sign-in; that it says something now is seen at the start."""
    if bool(from_file) == bool(from_env):
        fields = f"{prefix}password_file or {prefix}password_env"
        raise ConfigError(f"{file}: targets.{name}: needs {fields}, and not both")
    field, place = f"targets.{name}.{prefix}password_{'file' if from_file else 'env'}", file.parent / from_file
    if from_file:
        text = Secret(_read(file, field, from_file).decode(errors="replace").removesuffix("\n"))
    elif from_env in os.environ:
        text = Secret(os.environ[from_env])
    else:
        raise ConfigError(f"{file}: {field}: {from_env} is not in the environment")
    try:
        account(text, username)
    except CredentialError as error:
        raise ConfigError(f"{file}: {field}: {error}") from None
    return place if from_file else text


class _Field(msgspec.Struct, frozen=True):
    """A place in the file, to tell what is wrong there."""

    file: Path
    name: str

    def __truediv__(self, part: str) -> _Field:
        return _Field(self.file, f"{self.name}.{part}")

    def wrong(self, what: str) -> ConfigError:
        return ConfigError(f"{self.file}: {self.name}: {what}")

    def readable(self, path: str) -> str:
        """Absolute, and there already."""
        _read(self.file, self.name, path)
        return str(self.file.parent / path)


def _credential(at: _Field, target: TargetSettings) -> CredentialSettings:
    told, own = target.credential, at / "credential"
    by_token = told.rds_iam is not None or told.cloud_sql_iam is not None
    if by_token and not target.username:
        raise (at / "username").wrong("sign-in tokens are for an account: name it")
    if told.vault_database is not None and target.username:
        raise (at / "username").wrong("vault_database names the accounts itself: leave it out")
    for table in (told.vault_kv, told.vault_database, told.aws_secret, told.rds_iam):
        for field in ("path", "mount", "role", "id", "region") if table is not None else ():
            if getattr(table, field, "-").strip("/") in {"", ".", ".."}:
                raise (own / told.chosen[0] / field).wrong("is empty")
    return CredentialSettings(
        vault_kv=told.vault_kv and _vault(own / "vault_kv", told.vault_kv),
        vault_database=told.vault_database and _vault(own / "vault_database", told.vault_database),
        aws_secret=told.aws_secret,
        rds_iam=told.rds_iam,
        cloud_sql_iam=told.cloud_sql_iam,
    )


def _vault(at: _Field, server: V) -> V:
    if not re.fullmatch(r"https://[^/?#@\s]+", server.address):
        raise (at / "address").wrong(f"{server.address!r} is not https://host:port")
    ca_file = server.ca_file and (at / "ca_file").readable(server.ca_file)
    return msgspec.structs.replace(server, auth=_vault_auth(at / "auth", server.auth), ca_file=ca_file)


def _vault_auth(at: _Field, auth: VaultAuth) -> VaultAuth:
    if sum(map(bool, (auth.token_file, auth.approle, auth.kubernetes))) != 1:
        raise at.wrong("needs one of: token_file, approle, kubernetes")
    if auth.approle is not None:
        file = (at / "approle.secret_id_file").readable(auth.approle.secret_id_file)
        return VaultAuth(approle=msgspec.structs.replace(auth.approle, secret_id_file=file))
    if auth.kubernetes is not None:
        file = (at / "kubernetes.jwt_file").readable(auth.kubernetes.jwt_file)
        return VaultAuth(kubernetes=msgspec.structs.replace(auth.kubernetes, jwt_file=file))
    return VaultAuth(token_file=(at / "token_file").readable(auth.token_file))


def _read(file: Path, field: str, path: str) -> bytes:
    try:
        return (file.parent / path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {field}: {path} cannot be read: {error.strerror}") from error
