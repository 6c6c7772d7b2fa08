"""Webhooks: signed as the specification says, in order, and never sent where they must not go."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from control_plane.kit.secret import Secret
from control_plane.notifications.channels import Selected
from control_plane.notifications.documents import SecretSource, Selection, WebhookSpec
from control_plane.notifications.outgoing import LARGEST_ANSWER, Guard, NotAllowedError, Outgoing
from control_plane.notifications.ports import Later, Never
from control_plane.notifications.secrets import Secrets
from control_plane.notifications.signing import Genuine, Wrong, key_of, signed, verified
from control_plane.notifications.webhook import LARGEST_BODY, WebhookCourier
from tests.control_plane.notifications.post import Fixed, Post
from tests.control_plane.world import World, operation_of
from tests.support.sinks import Got, HttpSink, http_sink

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # nothing here depends on it
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
NEW = base64.b64encode(bytes(range(32))).decode()
OLD = base64.b64encode(bytes(range(32, 64))).decode()
NEW_SOURCE, OLD_SOURCE = SecretSource(file="new"), SecretSource(file="old")


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    (tmp_path / "new").write_text(f"whsec_{NEW}\n")
    (tmp_path / "old").write_text(f"whsec_{OLD}\n")
    return Secrets(tmp_path, {}.get)


def courier(world: World, secrets: Secrets, sink: HttpSink, **changes: object) -> WebhookCourier:
    spec = WebhookSpec(url=f"{sink.url}/hook", secret_from=NEW_SOURCE)
    return WebhookCourier(msgspec.structs.replace(spec, **changes), Outgoing(LOOPBACK), secrets, world.clock)


def signature(key: str, got: Got) -> str:
    """Computed anew, from the text of the specification."""
    signed_content = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    mac = hmac.new(base64.b64decode(key), signed_content, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


@on_sqlite
async def test_it_carries_the_request_as_the_api_shows_it_and_is_signed(world: World, secrets: Secrets) -> None:
    post = Post(world, Fixed())
    approval = await world.held()
    async with http_sink() as sink:
        await courier(world, secrets, sink).deliver(*await post.given("approval.pending", approval))
    (got,) = sink.got
    assert got.headers["webhook-id"] == "dlv_aaaaaaaaaaaaaaaaaaaa"
    assert got.headers["webhook-timestamp"] == str(world.clock.ms // 1000)
    assert got.headers["webhook-signature"] == signature(NEW, got)
    told = msgspec.json.decode(got.body)
    shown = (await world.view(approval)).row.shown_digest.hex()
    assert (told["type"], told["data"]["key"], told["data"]["complete"]) == ("approval.pending", approval, True)
    assert told["data"]["approval"]["digest"] == shown
    assert told["data"]["approval"]["text"] == "DELETE FROM orders WHERE id = 1041"
    assert told["data"]["url"] == f"https://assentry.example/approvals/{approval}"
    assert "exact_text" not in told["data"]["approval"]["operation"]


@on_sqlite
async def test_while_a_secret_is_replaced_both_sign(world: World, secrets: Secrets) -> None:
    post = Post(world, Fixed())
    approval = await world.held()
    async with http_sink() as sink:
        hook = courier(world, secrets, sink, old_secret_from=OLD_SOURCE)
        await hook.deliver(*await post.given("approval.pending", approval))
    (got,) = sink.got
    assert got.headers["webhook-signature"].split() == [signature(NEW, got), signature(OLD, got)]


@on_sqlite
async def test_a_text_that_is_too_large_is_announced_without_its_digest(world: World, secrets: Secrets) -> None:
    """Invariant 2: nobody decides on what was not shown."""
    post = Post(world, Fixed())
    approval = await world.held(operation=operation_of(text="SELECT 1 -- " + "x" * LARGEST_BODY))
    async with http_sink() as sink:
        await courier(world, secrets, sink).deliver(*await post.given("approval.pending", approval))
    told = msgspec.json.decode(sink.got[0].body)["data"]
    assert told["complete"] is False
    assert told["approval"]["hidden_bytes"] > LARGEST_BODY - 1000
    assert "digest" not in told["approval"]
    assert len(sink.got[0].body) < LARGEST_BODY


@on_sqlite
@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (503, Later, "answered 503"),
        (404, Later, "answered 404"),
        (410, Never, "410"),
    ],
)
async def test_what_is_not_taken_is_tried_again_unless_it_is_gone(
    world: World, secrets: Secrets, status: int, error: type[Exception], words: str
) -> None:
    approval = await world.held()
    given = await Post(world, Fixed()).given("approval.pending", approval)
    async with http_sink(lambda _got: web.Response(status=status, headers={"retry-after": "77"})) as sink:
        with pytest.raises(error, match=words) as raised:
            await courier(world, secrets, sink).deliver(*given)
    assert getattr(raised.value, "seconds", 77) == 77


@on_sqlite
async def test_a_redirect_is_not_followed(world: World, secrets: Secrets) -> None:
    given = await Post(world, Fixed()).given("approval.pending", await world.held())
    async with http_sink() as other:
        elsewhere = web.Response(status=307, headers={"location": f"{other.url}/stolen"})
        async with http_sink(lambda _got: elsewhere) as sink:
            with pytest.raises(Later, match="redirects are not followed"):
                await courier(world, secrets, sink).deliver(*given)
    assert other.got == []


@on_sqlite
async def test_an_answer_without_end_is_not_read_to_it(world: World, secrets: Secrets) -> None:
    given = await Post(world, Fixed()).given("approval.pending", await world.held())
    async with http_sink(lambda _got: web.Response(body=b"x" * (LARGEST_ANSWER + 1))) as sink:
        with pytest.raises(Later, match="answered with more than"):
            await courier(world, secrets, sink).deliver(*given)


@on_sqlite
async def test_a_short_secret_and_a_missing_one_are_told_without_the_secret(
    world: World, secrets: Secrets, tmp_path: Path
) -> None:
    given = await Post(world, Fixed()).given("approval.pending", await world.held())
    (tmp_path / "new").write_text("too-short")
    async with http_sink() as sink:
        with pytest.raises(Later, match="fewer than 24 bytes") as raised:
            await courier(world, secrets, sink).deliver(*given)
        assert "too-short" not in str(raised.value)
        (tmp_path / "new").unlink()
        with pytest.raises(Later, match="file new of the folder of secrets cannot be read"):
            await courier(world, secrets, sink).deliver(*given)
    assert sink.got == []


@on_sqlite
async def test_through_the_dispatcher_one_request_arrives_in_order_although_the_first_attempts_fail(
    world: World, secrets: Secrets
) -> None:
    refusals = iter([500, 500])

    def answering(_got: Got) -> web.Response:
        return web.Response(status=next(refusals, 200))

    approval = await world.held()
    await world.deny("ada", approval)
    async with http_sink(answering) as sink:
        selected = Selected("hook", Selection(), courier(world, secrets, sink))
        post = Post(world, Fixed(selected))
        for _ in range(3):
            await post.round()
            world.clock.advance(10)
    kinds = [(msgspec.json.decode(got.body)["type"], got.headers["webhook-id"]) for got in sink.got]
    assert [kind for kind, _ in kinds] == ["approval.pending"] * 3 + ["approval.denied"]
    assert len({key for _, key in kinds[:3]}) == 1


# ------------------------------------------------------------------ where nothing is sent


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "https://127.0.0.1:1/",
        "https://127.1/",
        "https://2130706433/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        "https://[fd00::1]/",
        "https://[fe80::1]/",
        "https://１２７.0.0.1/",
        "https://localhost/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.1.2.3/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "http://93.184.216.34/",
        "ftp://example.org/",
        "https://[64:ff9b:1::a00:1]/",  # RFC 8215: translated by the local network
        "https://[::a00:1]/",
        "https://[fec0::1]/",
        "https://[::ffff:0:a00:1]/",
        "file:///etc/passwd",
        "https:///nowhere",
        "https://[broken/",
    ],
)
async def test_no_private_address_is_reached_unless_it_is_allowed(url: str) -> None:
    with pytest.raises(Never):
        await Outgoing(()).request("POST", url, {}, b"x")


async def test_a_name_is_judged_by_every_address_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that gives one public and one private address is refused as a whole."""
    guard = Guard((), public=True)
    loop = asyncio.get_running_loop()

    async def resolved(*_arguments: object, **_more: object) -> list[object]:
        return [(2, 1, 6, "", ("93.184.216.34", 443)), (2, 1, 6, "", ("10.0.0.1", 443))]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    with pytest.raises(NotAllowedError):
        await guard.resolve("rebinding.example", 443)


async def test_an_address_that_resolves_to_a_private_one_is_refused_for_good() -> None:
    with pytest.raises(Never, match="not public"):
        await Outgoing(()).request("POST", "https://localhost:9/", {}, b"x")


async def test_where_nobody_listens_it_is_tried_again_and_the_address_is_not_told() -> None:
    with pytest.raises(Later) as raised:
        await Outgoing(LOOPBACK).request("POST", "http://127.0.0.1:1/secret", {}, b"x")
    assert str(raised.value) == "cannot be reached"


# ------------------------------------------------------------------ signatures


def test_the_example_of_the_specification_verifies() -> None:
    """Standard Webhooks 1.0.0, its reference vector."""
    key = key_of(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    body = b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert verified([key], headers, body, 1614265330) == Genuine("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330)
    assert signed([key], headers["webhook-id"], 1614265330, body) == headers


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        ({"webhook-id": "msg_other"}, 0),
        ({"webhook-id": ""}, 0),
        ({"webhook-id": "x" * 129}, 0),
        ({"webhook-timestamp": "1"}, 0),
        ({"webhook-timestamp": "soon"}, 0),
        ({"webhook-signature": ""}, 0),
        ({"webhook-signature": "v1,AAAA"}, 0),
        ({"webhook-signature": "v1a," + "A" * 44}, 0),
        ({}, 301),
        ({}, -301),
    ],
)
def test_nothing_else_verifies(change: dict[str, str], seconds: int) -> None:
    key = bytes(32)
    headers = {**signed([key], "msg_1", 1000, b"body"), **change}
    assert isinstance(verified([key], headers, b"body", 1000 + seconds), Wrong)
    assert isinstance(verified([key], signed([key], "msg_1", 1000, b"body"), b"bodY", 1000), Wrong)
    assert isinstance(verified([b"1" * 32], signed([key], "msg_1", 1000, b"body"), b"body", 1000), Wrong)
    assert isinstance(verified([], signed([key], "msg_1", 1000, b"body"), b"body", 1000), Wrong)


def test_the_replaced_secret_still_verifies_while_it_is_named() -> None:
    new, old = bytes(32), b"1" * 32
    assert isinstance(verified([new, old], signed([old], "msg_1", 1000, b"x"), b"x", 1000), Genuine)
