"""The gRPC services of the link: turns calls into streams, enrolments and uploads, and their ends into statuses.

Who calls is the serial number of the client certificate that mutual TLS has verified, looked up at every call before it
does anything.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NoReturn

import grpc
import structlog
from assentry.v1 import link_pb2 as pb
from assentry.v1 import link_pb2_grpc as stubs
from cryptography import x509

from control_plane.agents import repository, wire
from control_plane.agents.callers import Credential, Permission, called_with
from control_plane.agents.domain import Agent, Certificates, Enrolled, NotEnrolled
from control_plane.agents.errors import End, StreamEndedError
from control_plane.agents.ports import Recordings
from control_plane.agents.secret_calls import Refusal, RefusedError, SecretCalls
from control_plane.agents.service import AgentService
from control_plane.agents.stream import AgentStream, Parts, unbroken
from control_plane.identities.ports import CertificateRequestError
from control_plane.kit.errors import UnavailableError
from control_plane.kit.keys import SigningKeys
from control_plane.kit.secret import Secret
from control_plane.kit.unit_of_work import Units
from control_plane.recordings.service import Ended, NotTaken
from data_plane.recording.format import RecordingEnd

_log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

_STATUSES: Final[Mapping[End, grpc.StatusCode]] = {
    End.REFUSED: grpc.StatusCode.PERMISSION_DENIED,
    End.CONFUSED: grpc.StatusCode.INVALID_ARGUMENT,
    End.REPLACED: grpc.StatusCode.ABORTED,
    End.EXPIRED: grpc.StatusCode.UNAUTHENTICATED,
}

_BEGIN_SECONDS: Final = 15.0
_BEGIN_FIRST: Final = "begin comes first, and once"
_NOT_SERVED: Final = "this agent is disabled or its certificate ended"
_REFUSALS: Final[Mapping[Refusal, grpc.StatusCode]] = {
    Refusal.DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Refusal.NOTHING_THERE: grpc.StatusCode.NOT_FOUND,
    Refusal.CONFUSED: grpc.StatusCode.INVALID_ARGUMENT,
    Refusal.OUTDATED: grpc.StatusCode.ABORTED,
    Refusal.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}


class EnrolmentServicer(stubs.EnrolmentServicer):
    def __init__(self, units: Units, agents: AgentService, keys: SigningKeys, deployment: str) -> None:
        self._units = units
        self._agents = agents
        self._keys = keys
        self._deployment = deployment

    @called_with(Credential.JOIN_TOKEN, Permission.ENROL)
    async def Enrol(self, request: pb.EnrolRequest, context: Context) -> pb.EnrolResponse:  # noqa: N802 - gRPC's name
        try:
            done = await unbroken(self._enrolled(request))
        except CertificateRequestError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UnavailableError as error:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, error.detail)
        if isinstance(done, NotEnrolled):
            await _abort(context, grpc.StatusCode.UNAUTHENTICATED, "the join token is not valid")
        return wire.enrolled(done, self._keys.public_keys(), self._deployment)

    async def _enrolled(self, request: pb.EnrolRequest) -> Enrolled | NotEnrolled:
        async with self._units() as uow:
            return await self._agents.enrol(
                uow, request.join_token, request.agent_name, request.client_csr, request.listener_csr
            )


class LinkServicer(stubs.LinkServicer):
    def __init__(self, parts: Parts, recordings: Recordings, secrets: SecretCalls) -> None:
        self._parts = parts
        self._recordings = recordings
        self._secrets = secrets
        self._streams: dict[str, asyncio.Task[Any]] = {}  # the newest by instance
        self._open: set[asyncio.Task[Any]] = set()  # and older ones, until the database knows of their end

    @called_with(Credential.CERTIFICATE, Permission.SERVE)
    async def Connect(  # type: ignore[override]  # noqa: N802 - gRPC's name; reads and writes, yields nothing
        self,
        request_iterator: AsyncIterator[pb.AgentMessage],  # noqa: ARG002 - gRPC passes it
        context: Context,
    ) -> None:
        agent, serial = await self._caller(context)

        async def read() -> pb.AgentMessage | None:
            message = await context.read()
            return message if isinstance(message, pb.AgentMessage) else None

        stream = AgentStream(agent, serial, self._parts, read, context.write)
        try:
            await stream.hello()
            await self._alone(stream)
        except StreamEndedError as error:
            await _abort(context, _STATUSES[error.end], error.reason)
        except TimeoutError:
            await _abort(context, grpc.StatusCode.DEADLINE_EXCEEDED, "no Hello came")
        except UnavailableError as error:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, error.detail)

    async def _alone(self, stream: AgentStream) -> None:
        """The newest stream of an instance; an older one is of a connection that nobody has noticed to be dead."""
        task = asyncio.current_task()
        older = self._streams.get(stream.instance_id)
        if older is not None:
            older.cancel()
        assert task is not None  # noqa: S101 - gRPC runs every call in a task
        self._streams[stream.instance_id] = task
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        try:
            await stream.run()
        finally:
            if self._streams.get(stream.instance_id) is task:
                del self._streams[stream.instance_id]
            await stream.disconnected()

    async def ended(self) -> None:
        """Once gRPC has ended the streams: returns when they have told the database."""
        if self._open:
            await asyncio.wait(self._open)

    @called_with(Credential.CERTIFICATE, Permission.SERVE)
    async def Renew(self, request: pb.RenewRequest, context: Context) -> pb.RenewResponse:  # noqa: N802 - gRPC's name
        agent, _ = await self._caller(context)
        try:
            done = await unbroken(self._renewed(agent, request))
        except CertificateRequestError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return wire.renewed(done)

    async def _renewed(self, agent: Agent, request: pb.RenewRequest) -> Certificates:
        async with self._parts.units() as uow:
            return await self._parts.agents.renew(uow, agent, request.client_csr, request.listener_csr)

    @called_with(Credential.CERTIFICATE, Permission.SECRETS)
    async def FetchSecret(  # noqa: N802 - gRPC's name
        self, request: pb.FetchSecretRequest, context: Context
    ) -> pb.FetchSecretResponse:
        serial = await _serial(context)
        try:
            done = await unbroken(self._secrets.fetch(serial, request.target, request.recipient_key))
        except (RefusedError, UnavailableError) as error:
            await _refuse(context, error)
        return pb.FetchSecretResponse(version=done.version, sealed=done.sealed)

    @called_with(Credential.CERTIFICATE, Permission.SECRETS)
    async def StoreSecret(  # noqa: N802 - gRPC's name
        self, request: pb.StoreSecretRequest, context: Context
    ) -> pb.StoreSecretResponse:
        serial, value = await _serial(context), Secret(request.value)
        try:
            version = await unbroken(self._secrets.store(serial, request.target, request.expected_version, value))
        except (RefusedError, UnavailableError) as error:
            await _refuse(context, error)
        return pb.StoreSecretResponse(version=version)

    @called_with(Credential.CERTIFICATE, Permission.RECORD)
    async def UploadRecording(  # noqa: N802 - gRPC's name
        self, request_iterator: AsyncIterator[pb.RecordingUpload], context: Context
    ) -> AsyncIterator[pb.RecordingAck]:
        serial = await _serial(context)  # looked up with the begin, in one transaction: nothing comes before it
        messages = aiter(request_iterator)
        begin = await _first(messages, context)
        yield await self._begin(serial, begin, context)
        async for message in messages:
            match message.WhichOneof("upload"):
                case "segment":
                    yield await self._segment(begin, message.segment, context)
                case "end":
                    yield await self._end(begin, message.end, context)
                case _:
                    await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, _BEGIN_FIRST)

    async def _begin(self, serial: str, begin: pb.RecordingBegin, context: Context) -> pb.RecordingAck:
        try:
            following = await unbroken(self._begun(serial, begin))
        except StreamEndedError as error:
            await _abort(context, _STATUSES[error.end], error.reason)
        if following is None:
            reason = "the instance or the session is not known yet; its report is on the way"
            await _abort(context, grpc.StatusCode.FAILED_PRECONDITION, reason)
        return await _acknowledged(following, context)

    async def _begun(self, serial: str, begin: pb.RecordingBegin) -> int | NotTaken | None:
        async with self._parts.units() as uow:
            agent = await self._parts.agents.holder(uow, serial)
            if agent is None:
                raise StreamEndedError(End.REFUSED, _NOT_SERVED)
            instance = await repository.instance(uow.session, begin.instance_id)
            if instance is None:
                return None
            if instance.agent_id != agent.id:
                return NotTaken("the instance belongs to another agent")
            return await self._recordings.begin(uow, begin.instance_id, begin.session_id)

    async def _segment(
        self, begin: pb.RecordingBegin, segment: pb.RecordingSegment, context: Context
    ) -> pb.RecordingAck:
        return await _acknowledged(await unbroken(self._kept(begin, segment)), context)

    async def _kept(self, begin: pb.RecordingBegin, segment: pb.RecordingSegment) -> int | NotTaken:
        kept = await self._recordings.keep(begin.session_id, segment.index, segment.bytes)
        async with self._parts.units() as uow:
            return await self._recordings.segment(uow, begin.instance_id, begin.session_id, kept)

    async def _end(self, begin: pb.RecordingBegin, end: pb.RecordingEnd, context: Context) -> pb.RecordingAck:
        ended = await unbroken(self._ended(begin, end))
        if isinstance(ended, NotTaken):
            await _abort(context, grpc.StatusCode.DATA_LOSS, ended.reason)
        return pb.RecordingAck(next_segment=end.segments, stored=True)

    async def _ended(self, begin: pb.RecordingBegin, end: pb.RecordingEnd) -> Ended | NotTaken:
        said = RecordingEnd(end.segments, end.chain_hash, end.signature, end.complete)
        async with self._parts.units() as uow:
            instance = await repository.instance(uow.session, begin.instance_id)
            keys = [_key(text) for text in (instance.recording_keys if instance else [])]
            return await self._recordings.end(uow, begin.instance_id, begin.session_id, said, keys)

    async def _caller(self, context: Context) -> tuple[Agent, str]:
        serial = await _serial(context)
        agent = await unbroken(self._holder(serial))
        if agent is None:
            await _abort(context, grpc.StatusCode.PERMISSION_DENIED, _NOT_SERVED)
        return agent, serial

    async def _holder(self, serial: str) -> Agent | None:
        async with self._parts.units.reading() as uow:
            return await self._parts.agents.holder(uow, serial)


async def _first(messages: AsyncIterator[pb.RecordingUpload], context: Context) -> pb.RecordingBegin:
    """Whose recording comes."""
    try:
        async with asyncio.timeout(_BEGIN_SECONDS):
            message = await anext(messages, None)
    except TimeoutError:
        await _abort(context, grpc.StatusCode.DEADLINE_EXCEEDED, "no begin came")
    if message is None or message.WhichOneof("upload") != "begin":
        await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, _BEGIN_FIRST)
    return message.begin


async def _serial(context: Context) -> str:
    pem = list(context.auth_context().get("x509_pem_cert", ()))
    if not pem:
        await _abort(context, grpc.StatusCode.UNAUTHENTICATED, "show the agent's client certificate")
    return f"{x509.load_pem_x509_certificate(pem[0]).serial_number:x}"


async def _refuse(context: Context, error: RefusedError | UnavailableError) -> NoReturn:
    if isinstance(error, UnavailableError):
        await _abort(context, grpc.StatusCode.UNAVAILABLE, error.detail)
    await _abort(context, _REFUSALS[error.why], error.reason)


async def _acknowledged(following: int | NotTaken, context: Context) -> pb.RecordingAck:
    """What was noted about a broken recording has been committed."""
    if isinstance(following, NotTaken):
        await _abort(context, grpc.StatusCode.DATA_LOSS, following.reason)
    return pb.RecordingAck(next_segment=following, stored=False)


async def _abort(context: Context, code: grpc.StatusCode, reason: str) -> NoReturn:
    await context.abort(code, reason)
    raise AssertionError("abort always raises")


def _key(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
