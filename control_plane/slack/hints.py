"""What to do about an error of Slack's, for those that somebody has to mend."""

from __future__ import annotations

from typing import Final

_HINTS: Final = {
    "not_in_channel": "invite the app to the channel: /invite @Assentry",
    "channel_not_found": "the channel's id is wrong, or it is private and the app is not in it: /invite @Assentry",
    "is_archived": "the channel is archived; choose another",
    "invalid_auth": "the bot token is wrong or revoked; install the app again and take the new one",
    "token_revoked": "the bot token is revoked; install the app again and take the new one",
    "token_expired": "tokens of this app expire; turn token rotation off for it",
    "account_inactive": "the app is no longer installed in the workspace",
    "not_authed": "no token was sent",
    "missing_scope": "the app lacks a permission; add what deploy/slack/manifest.yaml lists and install it again",
    "not_allowed_token_type": "this is another kind of token than is needed here",
    "restricted_action": "the workspace does not let the app post in the channel",
    "ratelimited": "Slack asks to wait",
    "unreachable": "Slack could not be reached; see that this machine may open HTTPS to slack.com",
    "user_not_found": "Slack knows no such user",
}


def hint(code: str) -> str:
    """With what goes before it. Empty: nothing to say."""
    return f": {_HINTS[code]}" if code in _HINTS else ""
