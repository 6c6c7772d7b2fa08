"""What is sealed opens in its own place only, with a key that is configured."""

from __future__ import annotations

import msgspec
import pytest

from control_plane.secrets.envelope import Envelope, Sealed, file_context, secret_context
from control_plane.secrets.ports import WrappedKeyError, WrapperConfigurationError
from tests.control_plane.secrets.keys import PlayedKey

HERE = secret_context("prod", "orders", 3)


async def test_what_was_sealed_opens_and_no_two_are_alike() -> None:
    envelope = Envelope([PlayedKey("one")])
    first, second = [await envelope.seal(HERE, b"value") for _ in range(2)]
    assert await envelope.open(HERE, first) == b"value"
    assert {first.ciphertext, first.wrapped_key}.isdisjoint({second.ciphertext, second.wrapped_key})


@pytest.mark.parametrize(
    "elsewhere",
    [
        secret_context("test", "orders", 3),
        secret_context("prod", "order", 3),
        secret_context("prod", "orders", 4),
        secret_context("prod", "orders", 2),
        file_context("prod", "orders"),
        b"",
    ],
)
@pytest.mark.parametrize("binds", [True, False])
async def test_it_opens_nowhere_else(elsewhere: bytes, binds: bool) -> None:
    """Nor where the wrapping key binds nothing: the value itself is bound."""
    envelope = Envelope([PlayedKey("one", binds=binds)])
    sealed = await envelope.seal(HERE, b"value")
    with pytest.raises(WrappedKeyError):
        await envelope.open(elsewhere, sealed)


async def test_every_bit_of_it_counts_and_so_does_its_end() -> None:
    envelope = Envelope([PlayedKey("one")])
    sealed = await envelope.seal(HERE, b"value")
    for field in ("ciphertext", "wrapped_key"):
        content: bytes = getattr(sealed, field)
        for at in range(len(content)):
            torn = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            for changed in (torn, content[:at]):
                with pytest.raises(WrappedKeyError):
                    await envelope.open(HERE, msgspec.structs.replace(sealed, **{field: changed}))


async def test_the_value_of_one_does_not_open_with_the_data_key_of_another() -> None:
    envelope = Envelope([PlayedKey("one")])
    first, second = [await envelope.seal(HERE, value) for value in (b"first", b"second")]
    with pytest.raises(WrappedKeyError):
        await envelope.open(HERE, Sealed(first.ciphertext, second.wrapped_key, first.wrapping_key))


async def test_the_first_key_wraps_and_all_unwrap() -> None:
    old, new = PlayedKey("old"), PlayedKey("new")
    sealed = await Envelope([old]).seal(HERE, b"value")
    both = Envelope([new, old])
    assert (both.wraps_with, both.configured) == (new.id, [new.id, old.id])
    assert await both.open(HERE, sealed) == b"value"
    fresh = await both.rewrapped(HERE, sealed)
    assert (fresh.ciphertext, fresh.wrapping_key) == (sealed.ciphertext, new.id)
    assert await Envelope([new]).open(HERE, fresh) == b"value"
    with pytest.raises(WrapperConfigurationError, match="played:old, which is not configured"):
        await Envelope([new]).open(HERE, sealed)
    with pytest.raises(ValueError, match="needs a wrapping key"):
        Envelope([])
