"""Slack: one message for each request, decided by its buttons, and updated in place.

    notice ─▶ channel ─▶ card (pure) ─▶ api ─▶ Slack
    Slack ─▶ endpoints (HTTP, signed) or socket ─▶ interactions (pure) ─▶ inbox ─▶ deciding ─▶ ReviewService.decide

What Slack shows is what is decided: the button carries the digest of what was shown, and a request that does not fit
a message whole has no buttons. Who presses is found by exactly one mapping, that the configuration names.
"""
