"""Channels by the Apprise library: e-mail, Microsoft Teams, Mattermost, PagerDuty, Opsgenie and a hundred more.

Its plugins block, so each delivery has a thread of its own and a time limit; threads that hang are counted, and beyond
some the channel waits, so that a dead service costs nothing but itself. The library may cut nothing and interpret
nothing: text arrives shortened with a count where a service has a limit, in a fence where a service reads Markdown. Its
log is silent, because it names addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final
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
_SPARE: Final = 300  # characters that a fence, a second link, a service or the library put around a message
_ASKING: Final = frozenset({"approval.pending", "approval.escalated", "approval.reminded", "approval.undeliverable"})
_MAIL: Final = ("mailto://", "mailtos://")
_LOADING: Final = threading.Lock()

for _name in ("apprise", "urllib3"):  # nothing else here uses either
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class AppriseCourier:
    def __init__(self, spec: AppriseSpec, secrets: Secrets) -> None:
        self._spec = spec
        self._secrets = secrets
        self._running = 0  # changed on the event loop only

    async def deliver(self, notice: Notice, facts: Facts) -> Told | None:
        """Who is asked although it has been decided meanwhile would only be disturbed."""
        if notice.kind in _ASKING and facts.view is not None and facts.view.row.state != State.PENDING:
            return Told(f"not sent: it is {facts.view.row.state} by now")
        url = self._secrets.read(self._spec.url_from)
        recipients = facts.recipients if self._spec.to_reviewers else ()
        return await self._in_a_thread(lambda: _sent(url, recipients, notice, facts))

    async def _in_a_thread(self, send: Callable[[], Told]) -> Told:
        if self._running >= _MOST_THREADS:
            raise Later(0, "earlier deliveries still hang")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Told] = loop.create_future()
        self._running += 1

        def work() -> None:
            """To the end, whether anybody still waits or not."""
            outcome = _outcome(send)
            with contextlib.suppress(RuntimeError):  # the event loop is closed: the process ends
                loop.call_soon_threadsafe(self._landed, done, outcome)

        threading.Thread(target=work, name="apprise", daemon=True).start()
        return await done

    def _landed(self, done: asyncio.Future[Told], outcome: Told | Later | Never) -> None:
        self._running -= 1
        if done.done():
            return
        if isinstance(outcome, Told):
            done.set_result(outcome)
        else:
            done.set_exception(outcome)


def _outcome(send: Callable[[], Told]) -> Told | Later | Never:
    try:
        return send()
    except (Later, Never) as told:
        return told
    except Exception as error:  # noqa: BLE001 - its text may hold the address
        return Later(0, f"the library failed ({type(error).__name__})")


def _sent(url: Secret, recipients: Sequence[Recipient], notice: Notice, facts: Facts) -> Told:
    plugin = _plugin(url, recipients)
    if not _notify(plugin, message(notice, facts, plugin.body_maxlen - _SPARE)):
        raise Later(0, f"{plugin.service_name} did not take it")
    return Told(f"taken by {plugin.service_name}")


def _plugin(url: Secret, recipients: Sequence[Recipient]) -> NotifyBase:
    asset = apprise.AppriseAsset(
        app_id="Assentry", app_desc="Assentry", async_mode=False, interpret_escapes=False, interpret_emojis=False
    )
    address = url.reveal()
    if recipients and address.startswith(_MAIL):
        address = _addressed(address, [one.email for one in recipients if one.email])
    with _LOADING:  # the first one loads every plugin there is
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
    """What reads HTML gets text that the library escapes. Everything else gets a fence: many services that say they
    take plain text make links of Markdown and call people by an @."""
    formats = plugin.notify_format
    known = set(formats) if isinstance(formats, tuple | list) else {formats}
    if apprise.NotifyFormat.HTML in known:
        body, form = plain(told), apprise.NotifyFormat.TEXT
    else:
        reads_markdown = apprise.NotifyFormat.MARKDOWN in known
        body, form = markdown(told), apprise.NotifyFormat.MARKDOWN if reads_markdown else apprise.NotifyFormat.TEXT
    fleet = apprise.Apprise(asset=plugin.asset)
    fleet.add(plugin)
    return bool(fleet.notify(body=body, title=told.title, body_format=form))
