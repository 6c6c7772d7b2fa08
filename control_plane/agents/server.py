"""The control plane's gRPC server: the link on one port with mutual TLS, enrolment on another with TLS only.

gRPC's Python server either demands a client certificate or does not ask for one, so the two services do not share a
port; a method of one is not reachable on the port of the other. The server's own certificate is short-lived and made
anew by the CA when two thirds of its life have passed, without a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import grpc
import structlog
from assentry.v1 import link_pb2 as pb
from assentry.v1 import link_pb2_grpc as stubs

from control_plane.agents.authority import CertificateAuthority
from control_plane.agents.callers import declarations
from control_plane.agents.servicer import EnrolmentServicer, LinkServicer
from control_plane.agents.stream import finished
from control_plane.kit.clock import Clock
from control_plane.kit.starting import StartError, check_free

_log = structlog.get_logger(__name__)

_LIFE: Final = timedelta(days=30)
_MOST_BYTES: Final = 128 * 1024 * 1024  # an operation travels complete
_GRACE_SECONDS: Final = 0.2  # streams never end by themselves
_FINISH_SECONDS: Final = 10.0
_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),  # a port that is taken is an error
    ("grpc.max_receive_message_length", _MOST_BYTES),
    ("grpc.max_send_message_length", _MOST_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
_ENROLMENT_BYTES: Final = 256 * 1024


class GrpcServer:
    """`link_port` and `enrolment_port` are the bound ones after `start`; an address may ask for port 0."""

    def __init__(
        self,
        *,
        link_address: str,
        enrolment_address: str,
        authority: CertificateAuthority,
        clock: Clock,
        link: LinkServicer,
        enrolment: EnrolmentServicer,
    ) -> None:
        self._link_address = link_address
        self._enrolment_address = enrolment_address
        self._certificates = _ServerCertificates(authority, clock)
        self._services = (link, enrolment)
        for name, servicer in (("Link", link), ("Enrolment", enrolment)):
            list(declarations(pb.DESCRIPTOR.services_by_name[name], servicer))  # refuses one that says nothing
        self._servers: list[grpc.aio.Server] = []
        self.link_port = 0
        self.enrolment_port = 0

    async def start(self) -> None:
        """Raises StartError for an address that cannot be had."""
        link = grpc.aio.server(options=_OPTIONS)
        stubs.add_LinkServicer_to_server(self._services[0], link)
        credentials = self._certificates.credentials(clients=True)
        self.link_port = _port(link, self._link_address, credentials, "ASSENTRY_GRPC_ADDRESS")
        enrolment = grpc.aio.server(
            options=(*_OPTIONS[:1], ("grpc.max_receive_message_length", _ENROLMENT_BYTES)), maximum_concurrent_rpcs=32
        )
        stubs.add_EnrolmentServicer_to_server(self._services[1], enrolment)
        credentials = self._certificates.credentials(clients=False)
        self.enrolment_port = _port(enrolment, self._enrolment_address, credentials, "ASSENTRY_ENROLMENT_ADDRESS")
        self._servers = [link, enrolment]
        for server in self._servers:
            await server.start()
        _log.info("listening for agents", link_port=self.link_port, enrolment_port=self.enrolment_port)

    async def stop(self) -> None:
        """Streams end; agents come back, here or to another replica. The database is not in use when it returns."""
        await asyncio.gather(*(server.stop(_GRACE_SECONDS) for server in self._servers))
        async with asyncio.timeout(_FINISH_SECONDS):
            await self._services[0].ended()
            await finished()


def _port(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials, setting: str) -> int:
    check_free(setting, address)
    try:
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise StartError(f"{setting}: cannot listen on {address}; choose another address") from error


def enrolment_address_beside(link_address: str) -> str:
    """The default: the next port of the same host (7443 and 7444)."""
    host, _, port = link_address.rpartition(":")
    return f"{host}:{int(port) + 1 if int(port) else 0}"


class _ServerCertificates:
    def __init__(self, authority: CertificateAuthority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock

    def credentials(self, *, clients: bool) -> grpc.ServerCredentials:
        made = self._made()
        fetch: Any = self._fetch()  # the stubs forget that it may answer None
        return grpc.dynamic_ssl_server_credentials(made, fetch, require_client_authentication=clients)

    def _made(self) -> grpc.ServerCertificateConfiguration:
        now = self._clock.now()
        key, certificate = self._authority.server(now, _LIFE)
        return grpc.ssl_server_certificate_configuration([(key, certificate)], self._authority.certificates)

    def _fetch(self) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
        renew_at = self._clock.now() + _LIFE * 2 / 3

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """Asked by gRPC at every handshake; None keeps what there is."""
            nonlocal renew_at
            now = self._clock.now()
            if now < renew_at:
                return None
            renew_at = now + _LIFE * 2 / 3
            return self._made()

        return fetch
