"""The webhook channel: every notice as signed JSON, with the approval as the API shows it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from control_plane.approvals.schemas import ApprovalOut, ApprovalSummaryOut
from control_plane.kit.clock import Clock, from_milliseconds, milliseconds
from control_plane.notifications.documents import WebhookSpec
from control_plane.notifications.outgoing import Outgoing
from control_plane.notifications.ports import Facts, Later, Never, Notice, Told
from control_plane.notifications.secrets import Secrets
from control_plane.notifications.signing import key_of, signed

LARGEST_BODY: Final = 256 * 1024
_GONE: Final = 410
# The text as it came is for programs that compare bytes, not for people's tickets; `you` is nobody here.
_LEFT_OUT: Final[dict[str, Any]] = {
    "you": True,
    "operation": {"exact_text", "raw_hex"},
    "plan": {"statements": {"__all__": {"exact_text"}}},
}


class WebhookCourier:
    def __init__(self, spec: WebhookSpec, outgoing: Outgoing, secrets: Secrets, clock: Clock) -> None:
        self._spec = spec
        self._outgoing = outgoing
        self._secrets = secrets
        self._clock = clock

    async def deliver(self, notice: Notice, facts: Facts) -> Told | None:
        keys = signing_keys(self._spec, self._secrets)
        body = payload(notice, facts)
        at = milliseconds(self._clock.now()) // 1000
        headers = {"content-type": "application/json", "user-agent": "Assentry"}
        headers |= signed(keys, facts.idempotency_key, at, body)
        reply = await self._outgoing.request("POST", self._address(), headers, body)
        if reply.ok:
            return Told(f"answered {reply.status}")
        if reply.status == _GONE:
            raise Never("answered 410: it wants no more of this")
        if 300 <= reply.status < 400:
            raise Later(0, f"answered {reply.status}: redirects are not followed, configure the final address")
        raise reply.later()

    def _address(self) -> str:
        source = self._spec.url_from
        return self._spec.url if source is None else self._secrets.read(source).reveal()


def signing_keys(spec: WebhookSpec, secrets: Secrets) -> list[bytes]:
    """The present secret first, then the one that it replaces. Raises Later when one is missing or no good."""
    sources = [spec.secret_from, *([spec.old_secret_from] if spec.old_secret_from else [])]
    try:
        return [key_of(secrets.read(source)) for source in sources]
    except ValueError as error:
        raise Later(0, str(error)) from None


def payload(notice: Notice, facts: Facts) -> bytes:
    """Beyond the limit the text is left out, and with it the digest: nobody decides on what was not shown to them."""
    whole = _encoded(notice, facts, complete=True)
    return whole if len(whole) <= LARGEST_BODY else _encoded(notice, facts, complete=False)


def _encoded(notice: Notice, facts: Facts, *, complete: bool) -> bytes:
    data: dict[str, Any] = {"key": notice.key, "notice": dict(notice.data), "url": facts.url, "complete": complete}
    if facts.view is not None and complete:
        data["approval"] = ApprovalOut.full(facts.view).model_dump(mode="json", exclude=_LEFT_OUT)
    elif facts.view is not None:
        data["approval"] = ApprovalSummaryOut.of(facts.view).model_dump(mode="json", exclude={"you": True})
    told = {"type": notice.kind, "timestamp": from_milliseconds(notice.at_ms).isoformat(), "data": data}
    return msgspec.json.encode(told)
