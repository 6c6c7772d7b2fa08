"""One PostgreSQL session from the accepted connection to its end: the only place that knows all parts of the protocol.

start-up → credential → admission → target → core. Every way out before the core runs is one ErrorResponse (FATAL) with
a proper SQLSTATE; nothing that the target says of the agent's own credential reaches the client. Once the core runs,
bytes move by callbacks (`runtime.driver`) and this task only waits for the end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from data_plane.credentials.of_session import SessionAccount
from data_plane.credentials.ports import CredentialError, Need, PasswordCredential
from data_plane.gate.admission import Admitted, CertificateCredential, Credential
from data_plane.gate.admission import Refused as NotAdmitted
from data_plane.gate.interface import SessionFacts
from data_plane.identifiers import SessionId
from data_plane.protocols.interface import Endpoint
from data_plane.protocols.postgres import answers, client_authentication, startup
from data_plane.protocols.postgres.answers import CancelKey
from data_plane.protocols.postgres.cancellation import CancelRegistry
from data_plane.protocols.postgres.core.ports import Output
from data_plane.protocols.postgres.interface import ACCOUNT, REASON
from data_plane.protocols.postgres.messages import IDLE, AuthenticationOk
from data_plane.protocols.postgres.refusal import Refusal, farewell, not_admitted, target_failed
from data_plane.protocols.postgres.startup import Startup
from data_plane.protocols.postgres.target_connection import Opened, open_target, send_cancel
from data_plane.recording.interface import RecordingError
from data_plane.runtime.connection import Connection
from data_plane.runtime.driver import Core, Driver
from data_plane.runtime.listener import Accepted
from data_plane.runtime.session import Sessions

log = structlog.get_logger(__name__)


class PostgresCore(Core, Protocol):
    @property
    def idle(self) -> bool:
        """Nothing is begun: no transaction, no unanswered message, no part of one."""

    def cancel_requested(self) -> bool:
        """True: forward a CancelRequest to the target; False: it was for a hold, or there is nothing to cancel."""

    def over(self) -> None:
        """The target is not heard any more. May be called more than once."""


MakeCore = Callable[[Output, Mapping[str, str]], PostgresCore]
"""Makes the core of an admitted session; the mapping is what the target told of its own state."""

Prepare = Callable[[Admitted, str], contextlib.AbstractAsyncContextManager[MakeCore]]
"""Readies what the core of a session to this database needs, for the session's life. Raises ConnectionError."""


class RefusedError(Exception):
    """The connection becomes no session; `refusal` is for the client, `reason` for the recording."""

    def __init__(self, refusal: Refusal, reason: str = "") -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.reason = reason or refusal.message


class PostgresSession:
    """An open session as the registries know it: `SessionHandle` and `Cancellable`."""

    def __init__(
        self, admitted: Admitted, driver: Driver, core: PostgresCore, target_key: CancelKey | None, sessions: Sessions
    ) -> None:
        self._admitted = admitted
        self._sessions = sessions
        self._driver = driver
        self._core = core
        self._target_key = target_key

    @property
    def facts(self) -> SessionFacts:
        return self._admitted.facts

    @property
    def held(self) -> bool:
        return self._core.held

    @property
    def idle(self) -> bool:
        return self._core.idle

    def end(self, reason: str, message: str) -> None:
        """What runs at the target is cancelled there: a server does not look whether its client is still connected.
        What was sent behind it is not run: the server finds the connection reset when it would answer or read on."""
        running = not (self._driver.reason or self._core.idle or self._core.held)
        if running:
            self._driver.cut_target()
        self._driver.terminate(reason, message)
        if running and self._target_key is not None:
            delivery = send_cancel(self._admitted.target, self._target_key)
            self._sessions.afterwards(delivery, f"cancel of {self.facts.id}")

    async def cancel(self) -> None:
        if self._driver.reason or not self._core.cancel_requested() or self._target_key is None:
            return
        async with self._driver.nothing_to_target():
            await send_cancel(self._admitted.target, self._target_key)


class Opening:
    """A connection on its way to become a session."""

    def __init__(self, accepted: Accepted, endpoint: Endpoint, cancels: CancelRegistry, prepare: Prepare) -> None:
        self._accepted = accepted
        self._client: Connection = accepted.connection
        self._endpoint = endpoint
        self._cancels = cancels
        self._prepare = prepare
        self._personal: Mapping[str, str] = {}  # the account, where it was made for this session

    async def serve(self) -> None:
        """To the end of the session, or to the refusal."""
        try:
            asked = await self._start()
            if asked is not None:
                credential, rest = await self._authenticate(asked)
                await self._admitted(await self._admit(credential, asked), asked, rest)
        except RefusedError as refused:
            log.info("connection refused", target=self._endpoint.target, reason=refused.reason)
            self._client.send(refused.refusal.encode())

    # -------------------------------------------------------------- who the client is

    async def _start(self) -> Startup | None:
        """None: there is no session to open (a cancel request, or the client went away)."""
        if self._accepted.direct_tls and not self._alpn_agreed():
            raise RefusedError(Refusal("08P01", "direct TLS needs the ALPN protocol postgresql"))
        core = startup.StartupCore(offers_tls=self._endpoint.tls() is not None, secured=self._accepted.direct_tls)
        while data := await self._client.receive():
            match core.client_sent(data):
                case startup.Answer(data=answer):
                    self._client.send(answer)
                case startup.StartTls(data=answer):
                    await self._secure(answer)
                    core.secured()
                case startup.Cancel(key=key):
                    await self._cancels.cancel(key)
                    return None
                case startup.Refused(sqlstate=sqlstate, message=message):
                    raise RefusedError(Refusal(sqlstate, message))
                case Startup() as asked:
                    return asked
        return None

    async def _secure(self, answer: bytes) -> None:
        context = self._endpoint.tls()
        if context is None:
            raise RefusedError(Refusal("08P01", "TLS is not offered any more"))
        self._client.send(answer)
        await self._client.start_tls(context, server_side=True)

    def _alpn_agreed(self) -> bool:
        tls = self._client.tls
        return tls is not None and tls.selected_alpn_protocol() == "postgresql"

    async def _authenticate(self, asked: Startup) -> tuple[Credential, bytes]:
        if asked.negotiation is not None:
            self._client.send(answers.encode_negotiation(asked.negotiation))
        core = client_authentication.ClientAuthentication(
            client_authentication.Channel(
                secured=self._client.tls is not None,
                local=self._client.is_local,
                certificate=self._client.peer_certificate,
                tls_required=self._endpoint.tls_required,
            )
        )
        step = core.begin(asked.rest)
        while not isinstance(step, client_authentication.Shown):
            if isinstance(step, client_authentication.Refused):
                raise RefusedError(Refusal(step.sqlstate, step.message, step.hint))
            if isinstance(step, client_authentication.Ask):
                self._client.send(step.data)
            data = await self._client.receive()
            if not data:
                raise ConnectionAbortedError("the client went away while it was asked for its credential")
            step = core.client_sent(data)
        return step.credential, step.rest

    async def _admit(self, credential: Credential, asked: Startup) -> Admitted:
        if self._endpoint.sessions.full:
            raise RefusedError(Refusal("53300", "the agent has no place for another session"))
        admitted = await self._endpoint.admission.admit(
            credential,
            self._endpoint.target,
            self._client.peer_address,
            asked.application_name,
            {"database": asked.database, "user": asked.user},
        )
        if isinstance(admitted, NotAdmitted):
            raise RefusedError(not_admitted(admitted, certificate=isinstance(credential, CertificateCredential)))
        self._accepted.settled()
        return admitted

    # -------------------------------------------------------------- the session

    async def _admitted(self, admitted: Admitted, asked: Startup, rest: bytes) -> None:
        """Opens the target and runs; whatever happens, gate, recorder and credential hear of the end."""
        reason = "failed"
        try:
            with self._endpoint.sessions.opening(admitted.facts):
                reason = await self._with_target(admitted, asked, rest)
        except RefusedError as refused:
            reason = refused.reason
            raise
        except asyncio.CancelledError:
            reason = "the agent stopped"
            raise
        finally:
            admitted.gate.close(reason)
            with contextlib.suppress(RecordingError):
                admitted.recorder.closed(reason)
            await self._endpoint.credentials.release(admitted.facts)
            log.info("session closed", session=admitted.facts.id, target=self._endpoint.target, reason=reason)

    async def _with_target(self, admitted: Admitted, asked: Startup, rest: bytes) -> str:
        database = _database(admitted, asked)
        opened = await self._open_target(admitted, database, asked.settings)
        try:
            await self._signed_in(admitted.facts.id)
            async with self._prepare(admitted, database) as make_core:
                return await self._run(admitted, asked, rest, database, opened, make_core)
        except ConnectionError as error:
            log.warning("session not prepared", target=self._endpoint.target, error=str(error))
            raise RefusedError(Refusal("08001", "the target's catalogue cannot be read")) from error
        finally:
            opened.connection.close()

    async def _open_target(self, admitted: Admitted, database: str, settings: Mapping[str, str]) -> Opened:
        need = Need(admitted.facts, admitted.target, database, admitted.actions)
        try:
            credential = await self._endpoint.credentials.obtain(need)
        except CredentialError as error:
            log.warning("no credential for the target", target=self._endpoint.target, error=str(error))
            raise RefusedError(_no_account(self._endpoint.target)) from error
        if not isinstance(credential, PasswordCredential):
            log.warning("PostgreSQL takes passwords only", target=self._endpoint.target)
            raise RefusedError(_no_account(self._endpoint.target))
        if self._endpoint.credentials.personal(admitted.facts.id):
            self._personal = {ACCOUNT: credential.username}
        opened = await open_target(admitted.target, credential, database, settings)
        if not isinstance(opened, Opened):
            log.warning("target not opened", target=self._endpoint.target, sqlstate=opened.sqlstate, why=opened.message)
            raise RefusedError(target_failed(opened))
        if opened.ready.parameters.get("is_superuser") == "on":
            log.warning("the agent's account at the target is a superuser", target=self._endpoint.target)
        return opened

    async def _signed_in(self, session: SessionId) -> None:
        try:
            await self._endpoint.credentials.signed_in(session)
        except CredentialError as error:
            log.warning("the session's account is not closed", target=self._endpoint.target, error=str(error))
            raise RefusedError(Refusal("08001", "the agent's account at this target cannot be made safe")) from error

    async def _run(
        self, admitted: Admitted, asked: Startup, rest: bytes, database: str, opened: Opened, make_core: MakeCore
    ) -> str:
        if (unwanted := self._endpoint.sessions.unwanted(admitted.facts.id)) is not None:
            reason, message = unwanted
            raise RefusedError(Refusal("57P01", message), reason)
        ready = opened.ready
        own = {name: asked.settings[name] for name in ("statement_timeout", REASON) if name in asked.settings}
        account = SessionAccount(self._endpoint.credentials, admitted.facts.id)
        driver = Driver(self._client, opened.connection, admitted.gate, farewell, account=account)
        core = make_core(driver, {**ready.parameters, **ready.state, **own, **self._personal, "database": database})
        session = PostgresSession(admitted, driver, core, ready.key, self._endpoint.sessions)
        key = self._cancels.issue(asked.version, ready.key, session)
        self._endpoint.sessions.add(session)
        expiry = asyncio.get_running_loop().call_later(
            max(0.0, admitted.expires_at - self._endpoint.clock.now()),
            lambda: session.end("credential expired", "the credential has expired: connect again with a new one"),
        )
        log.info("session opened", session=admitted.facts.id, target=self._endpoint.target)
        try:
            self._client.send(_welcome(ready.parameters, key))
            driver.start(core, rest, ready.rest)
            return await asyncio.shield(driver.finished)
        finally:
            expiry.cancel()
            driver.end("the agent stopped")
            self._endpoint.sessions.remove(session)
            self._cancels.revoke(key)
            core.over()


def _no_account(target: str) -> Refusal:
    """The reason is for the operator's log: it may name roles and servers."""
    hint = f"An administrator finds the reason with: assentry targets doctor {target}"
    return Refusal("08001", "the agent could not get an account for this session at the target", hint)


def _database(admitted: Admitted, asked: Startup) -> str:
    """The target's, where its definition names one; libpq sends the user's name for "none given"."""
    fixed = admitted.target.database
    if fixed and asked.database not in (fixed, asked.user):
        raise RefusedError(Refusal("3D000", f'this endpoint serves the database "{fixed}" only'))
    return fixed or asked.database


def _welcome(parameters: Mapping[str, str], key: CancelKey) -> bytes:
    return b"".join(
        [
            answers.encode_authentication(AuthenticationOk),
            *(answers.encode_parameter_status(name, value) for name, value in parameters.items()),
            answers.encode_key(key),
            answers.encode_ready_for_query(IDLE),
        ]
    )
