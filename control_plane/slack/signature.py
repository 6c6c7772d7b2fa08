"""Whether a request comes from Slack: version v0, HMAC-SHA256 over `v0:timestamp:raw body`, compared in constant time.

A good signature is good for five minutes; that it is taken once in this time is the inbox's business.
Source: Verifying requests from Slack. The arithmetic is slack-sdk's; its clock is ours, and junk is no error.
"""

from __future__ import annotations

import re
from typing import Final

from slack_sdk.signature import Clock as LibraryClock
from slack_sdk.signature import SignatureVerifier

from control_plane.kit.clock import Clock, milliseconds
from control_plane.kit.secret import Secret

GOOD_FOR_SECONDS: Final = 5 * 60
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE: Final = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)


class _OurClock(LibraryClock):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return milliseconds(self._clock.now()) / 1000


class Verifier:
    def __init__(self, signing_secret: Secret, clock: Clock) -> None:
        self._secret = signing_secret
        self._clock = clock

    def problem(self, body: bytes, timestamp: str, signature: str) -> str:
        """Why the request is not Slack's. Empty: it is. Never raises."""
        if _TIMESTAMP.fullmatch(timestamp) is None or _SIGNATURE.fullmatch(signature) is None:
            return "it is not signed"
        if abs(milliseconds(self._clock.now()) // 1000 - int(timestamp)) > GOOD_FOR_SECONDS:
            return "its timestamp is not of the last five minutes; see that this machine's clock is right"
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            return "it is not UTF-8"
        good = SignatureVerifier(self._secret.reveal(), _OurClock(self._clock)).is_valid(body, timestamp, signature)
        return "" if good else "its signature is not that of the signing secret"
