"""HTTP to the outside, for channels whose address stands in a document: what it reaches is limited, what it reads too.

- Only public addresses, and those networks that the operator allows (ASSENTRY_NOTIFY_NETWORKS). The check is made where
  the connection is made, on the address that the name resolved to, so a name that resolves otherwise a moment later
  changes nothing. Plain http only into allowed networks.
- Redirects are not followed, no proxy and no cookie is used, an answer is read up to a limit, and all of it has a time.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.helpers import is_ip_address
from yarl import URL

from control_plane.notifications.ports import Later, Never

LARGEST_ANSWER: Final = 256 * 1024
_CONNECT_SECONDS: Final = 5.0
_ALL_SECONDS: Final = 15.0
_TOO_EARLY: Final = frozenset({408, 425, 429, 502, 503, 504})

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")  # RFC 4291; the rest is local, translated or given to nobody
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Reply(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> float:
        """Seconds that the other side asks for, within reason; 0: it does not say."""
        told = self.headers.get("retry-after", "")
        return float(min(int(told), 3600)) if told.isdecimal() and len(told) < 10 else 0.0

    def later(self, why: str = "") -> Later:
        return Later(self.retry_after, f"answered {self.status}{f': {why}' if why else ''}")


class NotAllowedError(OSError):
    """An address that nothing may be sent to."""


class Guard(AbstractResolver):
    """Resolves names, and refuses to when one of the addresses is not allowed."""

    def __init__(self, allowed: Sequence[Network], *, public: bool) -> None:
        self._allowed = tuple(allowed)
        self._public = public

    def check(self, address: str) -> None:
        """Raises NotAllowedError."""
        found = _reached(ipaddress.ip_address(address.partition("%")[0]))
        if any(found.version == network.version and found in network for network in self._allowed):
            return
        of_nobody = found.version == 6 and found not in _GLOBAL_UNICAST
        if not self._public or of_nobody or not found.is_global or found.is_multicast:
            raise NotAllowedError("its address is not public; ASSENTRY_NOTIFY_NETWORKS allows private networks")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        addresses = [(kind, str(address[0])) for kind, _, _, _, address in found]
        for _, address in addresses:
            self.check(address)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, address in addresses
        ]

    async def close(self) -> None:
        """Nothing is kept open."""


def _reached(address: Address) -> Address:
    """Where packets to it end: some addresses of IPv6 carry one of IPv4 inside."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


class Outgoing:
    """One for all channels; connections are not shared between requests, so no channel waits for another's."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._https = Guard(allowed, public=True)
        self._http = Guard(allowed, public=False)

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Raises Later when nobody answers, Never when the address may not be called. Neither names the address."""
        guard = self._guarded(url)
        try:
            return await self._send(guard, method, url, headers, body)
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, NotAllowedError):
                raise Never(str(error.os_error)) from None
            raise Later(0, "cannot be reached") from None
        except aiohttp.ClientError as error:
            raise Later(0, f"the connection failed ({type(error).__name__})") from None
        except (TimeoutError, asyncio.IncompleteReadError):
            raise Later(0, f"no answer within {_ALL_SECONDS:g} s") from None

    def _guarded(self, url: str) -> Guard:
        try:
            parts = URL(url)  # as the client will read it
        except ValueError:
            raise Never("its address is not well-formed") from None
        host = parts.raw_host or ""
        if parts.scheme not in {"https", "http"} or not host:
            raise Never("its address does not begin with https:// and a host")
        guard = self._https if parts.scheme == "https" else self._http
        if not is_ip_address(host):
            return guard  # a name: checked when it is resolved
        try:
            guard.check(host)
        except NotAllowedError as error:
            raise Never(str(error)) from None
        except ValueError:  # 127.1 or 2130706433: no name, and no address as it should be written
            raise Never("its host is neither a name nor a complete address") from None
        return guard

    async def _send(self, guard: Guard, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        timeout = aiohttp.ClientTimeout(total=_ALL_SECONDS, sock_connect=_CONNECT_SECONDS)
        connector = aiohttp.TCPConnector(resolver=guard, use_dns_cache=False, force_close=True)
        jar = aiohttp.DummyCookieJar()
        async with (
            aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=timeout, trust_env=False) as session,
            session.request(method, url, headers=headers, data=body or None, allow_redirects=False) as answer,
        ):
            kept = await _bounded(answer.content)
            return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, kept)


def settled(reply: Reply, why: str = "") -> Reply:
    """The reply when it is good. Raises Later when another attempt may help, and Never when it cannot."""
    if reply.ok:
        return reply
    if 300 <= reply.status < 400:
        raise Later(0, f"answered {reply.status}: redirects are not followed, configure the final address")
    if reply.status in {401, 403}:
        raise reply.later(why or "the secret or its permissions are not (any more) good")
    if reply.status in _TOO_EARLY or reply.status >= 500:
        raise reply.later(why)
    raise Never(f"answered {reply.status}{f': {why}' if why else ''}")


async def _bounded(stream: aiohttp.StreamReader) -> bytes:
    kept = bytearray()
    async for chunk in stream.iter_any():
        kept += chunk
        if len(kept) > LARGEST_ANSWER:
            raise Later(0, f"answered with more than {LARGEST_ANSWER} bytes")
    return bytes(kept)
