"""Opens the agent's connection to a PostgreSQL target, and delivers cancel requests to it.

Drives `target_startup` over a socket. Whatever goes wrong is a `Failed` whose message holds nothing of the credential.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import ssl
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from data_plane.credentials.ports import PasswordCredential
from data_plane.policy.model import TargetSpec
from data_plane.protocols.postgres import target_startup
from data_plane.protocols.postgres.answers import CancelKey
from data_plane.protocols.postgres.target_startup import Failed, Ready, Send, StartTls, TargetLogin, TargetStartup
from data_plane.runtime import tls
from data_plane.runtime.connection import Connection, dial, is_loopback

log = structlog.get_logger(__name__)

CONNECT_SECONDS: Final = 15.0
CANCEL_SECONDS: Final = 10.0
DEFAULT_PORT: Final = 5432
_REFUSED: Final = "28P01"  # the password is wrong


class Address(msgspec.Struct, frozen=True):
    """`host` is a name, an address, or a folder with a Unix socket."""

    host: str
    port: int

    @property
    def path(self) -> str:
        return f"{self.host}/.s.PGSQL.{self.port}" if self.host.startswith("/") else ""


class Opened(msgspec.Struct, frozen=True, eq=False):
    connection: Connection
    ready: Ready


def read_address(text: str) -> Address:
    """Of `host`, `host:port`, `[v6]:port` or `/folder:port`. Raises ValueError."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not host:port")
        port = rest[1:]
    else:
        host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    if not host or (port and not port.isascii()) or (port and not port.isdigit()):
        raise ValueError(f"{text!r} is not host:port")
    return Address(host, int(port or DEFAULT_PORT))


@functools.lru_cache(maxsize=256)
def _context(mode: tls.TargetMode, ca: str) -> ssl.SSLContext:
    return tls.dialling(mode, ca, ("postgresql",))


async def open_target(
    spec: TargetSpec, credential: PasswordCredential, database: str, settings: Mapping[str, str]
) -> Opened | Failed:
    """Never raises for what the target or the network does. A password that is being rotated may be the next one."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            opened = await _open(spec, credential, database, settings)
            for password in credential.also:
                if isinstance(opened, Opened) or not (opened.by_target and opened.sqlstate == _REFUSED):
                    break
                other = PasswordCredential(credential.username, password)
                opened = await _open(spec, other, database, settings)
            return opened
    except ssl.SSLCertVerificationError as error:
        log.warning("target certificate refused", address=spec.address, error=error.verify_message)
        return Failed("08001", "the target's TLS certificate is not accepted")
    except (OSError, ValueError) as error:  # TimeoutError and ssl.SSLError are OSErrors
        log.warning("target unreachable", address=spec.address, error=f"{type(error).__name__}: {error}")
        return Failed("08001", "the target cannot be reached")


async def _open(
    spec: TargetSpec, credential: PasswordCredential, database: str, settings: Mapping[str, str]
) -> Opened | Failed:
    address = read_address(spec.address)
    login = TargetLogin(
        username=credential.username,
        password=credential.password,
        database=database,
        settings=settings,
        tls=spec.tls.mode,
        local=is_loopback(address.host),
        nonce=secrets.token_urlsafe(24),
    )
    connection = await dial(address.host, address.port, address.path)
    outcome: Ready | Failed | None = None
    try:
        outcome = await _converse(connection, TargetStartup(login), spec, address)
    finally:
        if not isinstance(outcome, Ready):
            connection.abort()
    return Opened(connection, outcome) if isinstance(outcome, Ready) else outcome


async def _converse(
    connection: Connection, startup: TargetStartup, spec: TargetSpec, address: Address
) -> Ready | Failed:
    connection.send(startup.begin().data)
    while data := await connection.receive():
        for step in startup.target_sent(data):
            if isinstance(step, Ready | Failed):
                return step
            if isinstance(step, StartTls):
                await _secure(connection, spec, address)
                connection.send(startup.secured(connection.peer_certificate or b"").data)
            elif isinstance(step, Send):
                connection.send(step.data)
    return startup.target_closed()


async def _secure(connection: Connection, spec: TargetSpec, address: Address) -> None:
    mode = spec.tls.mode
    if mode == "disable":
        raise ValueError("TLS is disabled for this target")
    context = _context(mode, spec.tls.ca)
    await connection.start_tls(context, server_side=False, server_name=address.host)


async def send_cancel(spec: TargetSpec, key: CancelKey) -> None:
    """Returns when the target has closed the connection: from then on the signal cannot hit a later statement."""
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            await _send_cancel(spec, read_address(spec.address), key)
    except (OSError, ValueError) as error:
        log.warning("cancel request not delivered", address=spec.address, error=type(error).__name__)


async def _send_cancel(spec: TargetSpec, address: Address, key: CancelKey) -> None:
    connection = await dial(address.host, address.port, address.path)
    try:
        if spec.tls.mode != "disable":
            connection.send(target_startup.SSL_REQUEST)
            if await connection.receive() != b"S":
                raise ConnectionRefusedError("the target offers no TLS for a cancel request")
            await _secure(connection, spec, address)
        connection.send(target_startup.encode_cancel(key))
        while await connection.receive():
            pass
    finally:
        connection.abort()  # nothing is left to be said: the target has closed, or does not answer in time
