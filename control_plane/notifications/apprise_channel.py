"""Channels by the Apprise library: e-mail, Microsoft Teams, Mattermost, PagerDuty, Opsgenie and a hundred more.

Its plugins block, so each delivery has a thread of its own and a time limit; threads that hang are counted, and beyond
some the channel waits, so that a dead service costs nothing but itself. The library may cut nothing and interpret
nothing: text arrives shortened with a count where a service has a limit, in a fence where a service reads Markdown. Its
log is silent, because it names addresses.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import apprise
from apprise.plugins import NotifyBase

from control_plane.approvals.domain import State
from control_plane.kit.secret import Secret
from control_plane.notifications.documents import AppriseSpec
from control_plane.notifications.ports import Facts, Later, Never, Notice, Recipient, Told
from control_plane.notifications.rendering import Message, markdown, message, plain
from control_plane.notifications.secrets import Secrets

_MOST_THREADS: Final = 16
_SPARE: Final = 80  # characters that a service or the library puts around a message
_ASKING: Final = frozenset({"approval.pending", "approval.escalated", "approval.reminded", "approval.undeliverable"})
_MAIL: Final = ("mailto://", "mailtos://")

logging.getLogger("apprise").addHandler(logging.NullHandler())
logging.getLogger("apprise").propagate = False


class AppriseCourier:
    def __init__(self, spec: AppriseSpec, secrets: Secrets) -> None:
        self._spec = spec
        self._secrets = secrets
        self._running = 0  # changed on the event loop only

    async def deliver(self, notice: Notice, facts: Facts) -> Told | None:
        """Who is asked although it has been decided meanwhile would only be disturbed."""
        if notice.kind in _ASKING and facts.view is not None and facts.view.row.state != State.PENDING:
            return Told(f"not sent: it is {facts.view.row.state} by now")
        recipients = facts.recipients if self._spec.to_reviewers else ()
        plugin = _plugin(self._secrets.read(self._spec.url_from), recipients)
        sent = await self._in_a_thread(plugin, message(notice, facts, plugin.body_maxlen - _SPARE))
        if not sent:
            raise Later(0, f"{plugin.service_name} did not take it")
        return Told(f"taken by {plugin.service_name}")

    async def _in_a_thread(self, plugin: NotifyBase, told: Message) -> bool:
        if self._running >= _MOST_THREADS:
            raise Later(0, "earlier deliveries still hang")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()
        self._running += 1
        thread = threading.Thread(target=self._send, args=(plugin, told, loop, done), name="apprise", daemon=True)
        thread.start()
        return await done

    def _send(
        self, plugin: NotifyBase, told: Message, loop: asyncio.AbstractEventLoop, done: asyncio.Future[bool]
    ) -> None:
        """In its thread, to the end, whether anybody still waits or not."""
        sent = False
        try:
            sent = _notify(plugin, told)
        except Exception:  # noqa: BLE001 - its text may hold the address
            sent = False
        finally:
            _call(loop, self._landed, done, sent)

    def _landed(self, done: asyncio.Future[bool], sent: bool) -> None:  # noqa: FBT001 - a callback
        self._running -= 1
        if not done.done():
            done.set_result(sent)


def _call(loop: asyncio.AbstractEventLoop, what: Any, *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(what, *arguments)
    except RuntimeError:  # the process ends, and with it its event loop
        return


def _plugin(url: Secret, recipients: Sequence[Recipient]) -> NotifyBase:
    asset = apprise.AppriseAsset(
        app_id="Assentry", app_desc="Assentry", async_mode=False, interpret_escapes=False, interpret_emojis=False
    )
    address = url.reveal()
    if recipients and address.startswith(_MAIL):
        address = _addressed(address, [one.email for one in recipients if one.email])
    made = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if not isinstance(made, NotifyBase):
        raise Never("the URL is none that Apprise knows")
    made.overflow_mode = apprise.OverflowMode.UPSTREAM
    return made


def _addressed(address: str, emails: Sequence[str]) -> str:
    """In blind copy: who reviews is nobody else's business."""
    if not emails:
        return address
    return f"{address}{'&' if '?' in address else '?'}bcc={quote(','.join(sorted(set(emails))))}"


def _notify(plugin: NotifyBase, told: Message) -> bool:
    formats = plugin.notify_format
    reads_markdown = formats == apprise.NotifyFormat.MARKDOWN
    fleet = apprise.Apprise(asset=plugin.asset)
    fleet.add(plugin)
    body = markdown(told) if reads_markdown else plain(told)
    form = apprise.NotifyFormat.MARKDOWN if reads_markdown else apprise.NotifyFormat.TEXT
    return bool(fleet.notify(body=body, title=told.title, body_format=form))
