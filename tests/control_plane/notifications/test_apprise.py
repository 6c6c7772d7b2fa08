"""Apprise against a real SMTP server and a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from control_plane.notifications.apprise_channel import AppriseCourier
from control_plane.notifications.documents import AppriseSpec, SecretSource
from control_plane.notifications.ports import Later, Never, Told
from control_plane.notifications.secrets import Secrets
from tests.control_plane.notifications.post import Fixed, Post
from tests.control_plane.world import World, operation_of
from tests.support.sinks import Got, http_sink, smtp_sink

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),  # nothing here depends on it
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # a plugin of Apprise loads it
]
SECRET = "s3cretpassword"


def courier(folder: Path, url: str, **changes: bool) -> AppriseCourier:
    (folder / "url").write_text(url)
    spec = AppriseSpec(url_from=SecretSource(file="url"), **changes)
    return AppriseCourier(spec, Secrets(folder, {}.get))


async def test_a_mail_says_who_wants_what_and_where_to_decide(world: World, tmp_path: Path) -> None:
    approval = await world.held(operation=operation_of(text="DELETE FROM orders\nWHERE note = '<b>&amp;'"))
    async with smtp_sink() as sink:
        url = f"mailto://127.0.0.1:{sink.port}/?from=assentry@example.org&to=ops@example.org&mode=insecure"
        told = await courier(tmp_path, url).deliver(*await Post(world, Fixed()).given("approval.pending", approval))
    (mail,) = sink.mails
    assert (mail.sender, mail.recipients) == ("assentry@example.org", ["ops@example.org"])
    assert mail.message["subject"].startswith("Approval wanted: bot on orders (")
    text = mail.text
    assert f"https://assentry.example/approvals/{approval}" in text
    assert "DELETE FROM orders" in text
    assert "WHERE note = '<b>&amp;'" in text or "WHERE note = '&lt;b&gt;&amp;amp;'" in text
    assert "owner owner" in text
    assert told == Told("taken by E-Mail")


async def test_those_who_can_decide_now_are_written_to_in_blind_copy(world: World, tmp_path: Path) -> None:
    """Not eve, who is in another group, and not owner, whose credential it is."""
    given = await Post(world, Fixed()).given("approval.pending", await world.held())
    async with smtp_sink() as sink:
        url = f"mailto://127.0.0.1:{sink.port}/?from=assentry@example.org&to=ops@example.org&mode=insecure"
        await courier(tmp_path, url, to_reviewers=True).deliver(*given)
    everybody = sorted(one for mail in sink.mails for one in mail.recipients)
    assert everybody == ["ada@example.org", "bob@example.org", "ops@example.org"]
    assert not any("ada@example.org" in str(mail.message) for mail in sink.mails)


async def test_what_a_screen_would_hide_is_written_out(world: World, tmp_path: Path) -> None:
    """Invariant 2."""
    approval = await world.held(operation=operation_of(text="SELECT 1 -- \u202e gpj"))
    async with http_sink() as sink:
        await courier(tmp_path, f"json://127.0.0.1:{sink.port}/").deliver(
            *await Post(world, Fixed()).given("approval.pending", approval)
        )
    told = msgspec.json.decode(sink.got[0].body)
    assert "\u202e" not in told["message"]
    assert "⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩" in told["message"]
    assert "Warning: 1 invisible characters are written out" in told["message"]


@pytest.mark.parametrize("escape", ["\\n", ":smile:", "\\u0041"])
async def test_nothing_in_the_text_is_interpreted(world: World, tmp_path: Path, escape: str) -> None:
    approval = await world.held(operation=operation_of(text=f"SELECT '{escape}'"))
    async with http_sink() as sink:
        await courier(tmp_path, f"json://127.0.0.1:{sink.port}/").deliver(
            *await Post(world, Fixed()).given("approval.pending", approval)
        )
    assert f"SELECT '{escape}'" in msgspec.json.decode(sink.got[0].body)["message"]


async def test_what_does_not_fit_a_service_is_counted(world: World, tmp_path: Path) -> None:
    """Invariant 2: Discord takes 2,000 characters, Mattermost 4,000."""
    text = "SELECT '" + "ä" * 9000 + "'"
    approval = await world.held(operation=operation_of(text=text))
    async with http_sink() as sink:
        await courier(tmp_path, f"mmost://127.0.0.1:{sink.port}/token").deliver(
            *await Post(world, Fixed()).given("approval.pending", approval)
        )
    (got,) = sink.got
    told = msgspec.json.decode(got.body)["text"]
    assert len(told) <= 4000
    shown = told.count("ä")
    assert f"… {len(text.encode()) - len('SELECT ') - 1 - 2 * shown} bytes hidden: read all of it at" in told


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("goalert://127.0.0.1:{port}/123e4567-e89b-12d3-a456-426614174000", "details"),
        ("mmost://127.0.0.1:{port}/token", "text"),
    ],
)
async def test_in_a_chat_the_text_of_a_client_is_fenced(world: World, tmp_path: Path, url: str, field: str) -> None:
    evil = "SELECT 1 -- ``` @channel [approve](https://evil.example)"
    notice, facts = await Post(world, Fixed()).given(
        "approval.pending", await world.held(operation=operation_of(text=evil))
    )
    async with http_sink() as sink:
        await courier(tmp_path, url.format(port=sink.port)).deliver(notice, facts)
    details = msgspec.json.decode(sink.got[0].body)[field]
    before, _, after = details.partition(evil)
    assert before.count("````") == 1
    assert after.count("````") == 1


async def test_a_service_that_fails_is_tried_again_and_its_address_is_nowhere(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Invariant 9."""
    given = await Post(world, Fixed()).given("approval.pending", await world.held())
    with caplog.at_level(logging.DEBUG):
        async with http_sink(lambda _got: web.Response(status=500)) as sink:
            with pytest.raises(Later, match="did not take it") as raised:
                await courier(tmp_path, f"json://user:{SECRET}@127.0.0.1:{sink.port}/").deliver(*given)
        with pytest.raises(Later):
            await courier(tmp_path, f"json://user:{SECRET}@127.0.0.1:1/").deliver(*given)
        with pytest.raises(Never, match="none that Apprise knows") as other:
            await courier(tmp_path, f"nonsense://{SECRET}").deliver(*given)
    written = caplog.text + "".join(capfd.readouterr()) + str(raised.value) + str(other.value)
    assert SECRET not in written


async def test_who_is_asked_about_something_that_is_over_is_left_alone(world: World, tmp_path: Path) -> None:
    approval = await world.held()
    await world.deny("ada", approval)
    async with http_sink() as sink:
        told = await courier(tmp_path, f"json://127.0.0.1:{sink.port}/").deliver(
            *await Post(world, Fixed()).given("approval.pending", approval)
        )
    assert told == Told("not sent: it is denied by now")
    assert sink.got == []


async def test_a_service_that_hangs_does_not_block_the_event_loop(world: World, tmp_path: Path) -> None:
    given = await Post(world, Fixed()).given("approval.pending", await world.held())
    release, arrived = asyncio.Event(), asyncio.Event()

    async def hanging(_got: Got) -> web.StreamResponse:
        arrived.set()
        await release.wait()
        return web.Response()

    async with http_sink(hanging) as sink:
        mail = courier(tmp_path, f"json://127.0.0.1:{sink.port}/")
        sending = asyncio.ensure_future(mail.deliver(*given))
        async with asyncio.timeout(10):
            await arrived.wait()
        assert not sending.done()
        release.set()
        assert await sending == Told("taken by JSON")


async def test_hanging_threads_are_counted_and_bounded(world: World, tmp_path: Path) -> None:
    given = await Post(world, Fixed()).given("approval.pending", await world.held())
    release = asyncio.Event()

    async def hanging(_got: Got) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with http_sink(hanging) as sink:
        mail = courier(tmp_path, f"json://127.0.0.1:{sink.port}/")
        sending = [asyncio.ensure_future(mail.deliver(*given)) for _ in range(16)]
        await asyncio.sleep(0)
        with pytest.raises(Later, match="still hang"):
            await mail.deliver(*given)
        release.set()
        await asyncio.gather(*sending)
        assert await mail.deliver(*given) == Told("taken by JSON")
