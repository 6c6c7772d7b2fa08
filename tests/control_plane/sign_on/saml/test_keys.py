"""Our own key pairs: made once, sealed, changed without a gap."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from control_plane.kit.sealing import SealError
from control_plane.secrets.feature import Sealing
from control_plane.sign_on.saml_keys import ServiceKeys, add_pair
from control_plane.sign_on.saml_responses import verified
from tests.control_plane.conftest import ManualClock
from tests.control_plane.sign_on.saml import forging
from tests.control_plane.sign_on.saml.forging import EXPECTED, NOW, content, described, signed


@pytest.fixture
def sealing(tmp_path: Path) -> Sealing:
    return Sealing("", tmp_path, "test")


def keys(sealing: Sealing, clock: ManualClock) -> ServiceKeys:
    return ServiceKeys(sealing.state_dir / "saml", sealing.files, clock)


async def test_the_first_pair_is_made_when_it_is_needed_and_found_again(sealing: Sealing, clock: ManualClock):
    one = keys(sealing, clock)
    assert not (sealing.state_dir / "saml").exists()
    [made] = await one.pairs()
    [found] = await keys(sealing, clock).pairs()
    assert found.certificate == made.certificate
    [file] = (sealing.state_dir / "saml").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert b"PRIVATE" not in file.read_bytes()


async def test_what_is_encrypted_for_the_pair_before_is_still_read(
    sealing: Sealing, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    [before] = await keys(sealing, clock).pairs()
    add_pair(sealing.state_dir / "saml", sealing.files, NOW)
    newest, oldest = await keys(sealing, clock).pairs()
    assert oldest.certificate == before.certificate != newest.certificate
    monkeypatch.setattr(forging, "pair", {"provider": forging.pair("provider"), "before": oldest}.__getitem__)
    document = content(forging.encrypted(signed(), key="before"))
    ours = [pair.private_pem() for pair in (newest, oldest)]
    assert verified(document, described(), EXPECTED, ours, NOW).name.value == "ada"


async def test_a_new_pair_never_takes_the_file_of_another_when_an_old_one_was_taken_out(
    sealing: Sealing, clock: ManualClock
):
    directory = sealing.state_dir / "saml"
    await keys(sealing, clock).pairs()
    add_pair(directory, sealing.files, NOW)
    (directory / "0001.pem").unlink()
    [kept] = await keys(sealing, clock).pairs()
    add_pair(directory, sealing.files, NOW)
    newest, oldest = await keys(sealing, clock).pairs()
    assert oldest.certificate == kept.certificate != newest.certificate


async def test_a_file_that_others_can_read_or_that_was_swapped_is_not_used(sealing: Sealing, clock: ManualClock):
    await keys(sealing, clock).pairs()
    [file] = (sealing.state_dir / "saml").iterdir()
    file.chmod(0o644)
    with pytest.raises(PermissionError):
        await keys(sealing, clock).pairs()
    file.chmod(0o600)
    file.write_bytes(b"{}")
    with pytest.raises(SealError):
        await keys(sealing, clock).pairs()


async def test_a_pair_prints_nothing_of_its_key(sealing: Sealing, clock: ManualClock):
    [pair] = await keys(sealing, clock).pairs()
    assert "***" in repr(pair)
    assert str(pair.private_pem()) == "***"
    with pytest.raises(TypeError):
        pickle.dumps(pair)
