"""What sealing stands on: wrapping keys, wherever they are kept. `wrapping` has one adapter for each place.

A data key of its own encrypts every value (`envelope`); a wrapping key encrypts only data keys. The first that is
configured wraps, all of them unwrap, so that one takes the place of another without a pause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class WrappingError(Exception):
    """`args[0]` says which wrapping key, what is wrong and what to do. It names no key material."""


class WrapperConfigurationError(WrappingError):
    """What is configured cannot be used: a file that others can read, 31 bytes, a library that is not installed."""


class WrapperUnavailableError(WrappingError):
    """The service that holds the wrapping key cannot be asked now, or refuses this control plane. Worth another try."""


class WrappedKeyError(WrappingError):
    """This was not wrapped with this key, or not in this context: a row was changed, or swapped with another."""


class KeyWrapper(Protocol):
    """One wrapping key. Adapters hold it (or the right to use it) in memory and print it nowhere.

    They may be used from any thread and any event loop: the files of the control plane's own keys are unsealed before
    it has a loop. Nothing that belongs to one loop is kept between calls."""

    @property
    def id(self) -> str:
        """Kept beside every data key that it wrapped and shown to admins: `file:3f2a…`, `aws-kms:arn:…`. At most 255
        characters, nothing secret. It names the very key: another key in the same file has another id, and the same key
        moved to another file has the same."""

    async def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """`data_key`: 32 bytes. `context` is what the wrapped key belongs to, up to 512 bytes of any value; it is
        authenticated, not hidden, and a wrapper whose service takes text only hashes or encodes it. Raises
        WrapperUnavailableError."""

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Raises WrappedKeyError when it is not exactly what `wrap` gave for this context, WrapperUnavailableError."""


# `wrapping.open_wrapper`: one entry of ASSENTRY_WRAPPING_KEYS (`file:/path`, `env:NAME`, `aws-kms:ARN`, …) becomes a
# wrapper. It makes nothing and asks no service. Raises WrapperConfigurationError, which repeats no value of a variable.
WrapperFactory = Callable[[str], KeyWrapper]
