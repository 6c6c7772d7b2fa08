"""Servers on loopback that keep what they are sent: HTTP that answers as the test says, and SMTP."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage

from aiohttp import web


@dataclass
class Got:
    method: str
    path: str  # with its query
    headers: Mapping[str, str]  # names in lower case
    body: bytes


Answering = Callable[[Got], Awaitable[web.StreamResponse] | web.StreamResponse]


@dataclass
class HttpSink:
    port: int = 0
    scheme: str = "http"
    got: list[Got] = field(default_factory=list)
    answering: Answering = lambda _got: web.Response(text="ok")

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        got = Got(request.method, request.path_qs, headers, await request.read())
        self.got.append(got)
        answer = self.answering(got)
        return answer if isinstance(answer, web.StreamResponse) else await answer


@contextlib.asynccontextmanager
async def http_sink(answering: Answering | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpSink]:
    sink = HttpSink(scheme="https" if tls else "http")
    if answering is not None:
        sink.answering = answering
    server = web.Server(sink.handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    sink.port = runner.addresses[0][1]
    try:
        yield sink
    finally:
        for connection in server.connections:  # a client that keeps one would keep the sink
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()


@dataclass
class Mail:
    sender: str
    recipients: list[str]
    message: EmailMessage

    @property
    def text(self) -> str:
        """Whichever parts a reader could open, together."""
        parts = [part for part in self.message.walk() if part.get_content_maintype() == "text"]
        return "\n".join(part.get_content() for part in parts)


@dataclass
class SmtpSink:
    """Enough of RFC 5321 to take a message; no TLS, no passwords."""

    port: int = 0
    mails: list[Mail] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sender, recipients = "", []
        writer.write(b"220 sink ESMTP\r\n")
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := (await reader.readline()).decode().strip():
                verb = line[:4].upper()
                if verb == "MAIL":
                    sender, recipients = line.partition(":")[2].split(">")[0].lstrip("< "), []
                elif verb == "RCPT":
                    recipients.append(line.partition(":")[2].split(">")[0].lstrip("< "))
                elif verb == "DATA":
                    writer.write(b"354 go on\r\n")
                    self.mails.append(Mail(sender, recipients, await _message(reader)))
                writer.write(b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")
                await writer.drain()
                if verb == "QUIT":
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _message(reader: asyncio.StreamReader) -> EmailMessage:
    data = await reader.readuntil(b"\r\n.\r\n")
    text = data[:-5].replace(b"\r\n..", b"\r\n.")
    return email.message_from_bytes(text, policy=email.policy.default)


@contextlib.asynccontextmanager
async def smtp_sink() -> AsyncIterator[SmtpSink]:
    sink = SmtpSink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0, limit=2**24)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        await server.wait_closed()


@contextlib.contextmanager
def http_sink_in_a_thread(answering: Answering | None = None) -> Iterator[HttpSink]:
    """For tests that have no event loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sink", daemon=True)
    thread.start()
    sinking = http_sink(answering)
    sink = asyncio.run_coroutine_threadsafe(sinking.__aenter__(), loop).result(10)
    try:
        yield sink
    finally:
        asyncio.run_coroutine_threadsafe(sinking.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
