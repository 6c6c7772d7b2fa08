"""Where browsers use security keys, and what a key is bound to there."""

from __future__ import annotations

import pytest

from control_plane.security_keys.ceremony import Site
from control_plane.security_keys.errors import NoNameError
from control_plane.security_keys.service import SecurityKeys


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://assentry.example.org", Site("assentry.example.org", "https://assentry.example.org")),
        ("https://Assentry.Example.org:8443", Site("assentry.example.org", "https://assentry.example.org:8443")),
        ("https://assentry.example.org:443/", Site("assentry.example.org", "https://assentry.example.org")),
        ("http://localhost:8080", Site("localhost", "http://localhost:8080")),
        ("http://assentry.example.org", None),
        ("http://127.0.0.1:8080", None),
        ("https://127.0.0.1", None),
        ("https://[::1]:8443", None),
        ("ftp://localhost", None),
        ("https://", None),
    ],
)
def test_a_key_is_bound_to_a_name_over_https_or_to_localhost(url: str, site: Site | None):
    assert Site.of(url) == site


def test_where_there_is_no_name_it_is_said_what_to_set():
    keys = SecurityKeys("http://127.0.0.1:8080", "test", None)  # type: ignore[arg-type]
    with pytest.raises(NoNameError, match="ASSENTRY_PUBLIC_URL to https://NAME"):
        _ = keys.site
