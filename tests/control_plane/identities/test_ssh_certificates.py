"""SSH certificates, read by OpenSSH's own ssh-keygen; and the list of what servers must refuse."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.__main__ import main
from control_plane.assembly import ControlPlane
from control_plane.identities.domain import Identity
from control_plane.identities.ports import CertificateRequestError
from control_plane.identities.ssh_authority import SshAuthority, add_key, user_key
from control_plane.kit.sealing import SealError
from control_plane.kit.unit_of_work import SYSTEM
from tests.control_plane.conftest import ManualClock
from tests.control_plane.identities.test_bindings import target
from tests.support.sealing import files_of


def key_pair(folder: Path, *kind: str) -> str:
    """The public half, as `ssh-keygen` writes it."""
    file = folder / "-".join(["id", *kind])
    words = ["-t", kind[0], *(["-b", kind[1]] if kind[1:] else [])]
    subprocess.run(["ssh-keygen", "-q", *words, "-N", "", "-C", "somebody", "-f", str(file)], check=True)
    return file.with_name(f"{file.name}.pub").read_text()


@pytest.fixture(scope="module")
def public_key(tmp_path_factory: pytest.TempPathFactory) -> str:
    return key_pair(tmp_path_factory.mktemp("key"), "ed25519")


def shown(folder: Path, certificate: str) -> str:
    """What `ssh-keygen -L` tells of it, a line each without the space around."""
    file = folder / "shown-cert.pub"
    file.write_text(certificate)
    command = ["ssh-keygen", "-L", "-f", str(file)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env={"TZ": "UTC"}).stdout
    return "\n".join(line.strip() for line in told.splitlines())


async def made(client: httpx.AsyncClient, public_key: str, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/ssh-certificates", json={"public_key": public_key, **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_certificate_names_the_credential_and_who_it_is_for(
    requester: httpx.AsyncClient, public_key: str, tmp_path: Path
):
    issued = await made(requester, public_key, networks=["10.0.0.0/8", "2001:db8::/32"])
    me = (await requester.get("/v1/session")).json()["name"]
    told = shown(tmp_path, issued["certificate"])
    assert issued["principals"] == [me]
    assert "ssh-ed25519-cert-v01@openssh.com user certificate" in told
    assert f'Key ID: "{issued["credential_id"]}"' in told
    assert f"Principals:\n{me}\nCritical Options:\nsource-address 10.0.0.0/8,2001:db8::/32\n" in told
    assert told.endswith("Extensions:\npermit-pty")
    assert "Valid: from 2026-03-01T11:55:00 to 2026-03-01T13:00:00" in told


async def test_one_that_is_bound_to_targets_names_nobody_who_is_good_everywhere(
    requester: httpx.AsyncClient, admin: httpx.AsyncClient, public_key: str, tmp_path: Path
):
    await target(admin, "bastion")
    issued = await made(requester, public_key, targets=["bastion"])
    me = (await requester.get("/v1/session")).json()["name"]
    assert issued["principals"] == [f"{me}/bastion"]
    assert f"Principals:\n{me}/bastion\nCritical Options: (none)" in shown(tmp_path, issued["certificate"])


@pytest.mark.parametrize("kind", [("ecdsa", "256"), ("ecdsa", "521"), ("rsa", "2048")])
async def test_other_kinds_of_keys_are_signed_too(requester, kind: tuple[str, ...], tmp_path: Path):
    issued = await made(requester, key_pair(tmp_path, *kind))
    assert issued["credential_id"] in shown(tmp_path, issued["certificate"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no key",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 !!!!",
        "ssh-dss AAAAB3NzaC1kc3M=",
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t",
        'command="id" ssh-ed25519 AAAA',
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_what_is_no_key_of_a_user_is_not_signed(text: str) -> None:
    with pytest.raises(CertificateRequestError):
        user_key(text)


def test_a_short_rsa_key_and_a_second_line_are_not_signed(tmp_path: Path, public_key: str) -> None:
    with pytest.raises(CertificateRequestError, match="too short"):
        user_key(key_pair(tmp_path, "rsa", "1024"))
    with pytest.raises(CertificateRequestError, match="one line"):
        user_key(public_key + public_key)


async def test_a_key_that_cannot_be_signed_leaves_no_credential(requester: httpx.AsyncClient):
    answer = await requester.post("/v1/ssh-certificates", json={"public_key": "ssh-ed25519 AAAA"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "$.public_key"
    assert (await requester.get("/v1/credentials")).json()["items"] == []


async def signed_in(anonymous: httpx.AsyncClient, control_plane: ControlPlane, identity: Identity) -> httpx.AsyncClient:
    """The same client, as this person from now on."""
    async with control_plane.units() as uow:
        opened = await control_plane.sign_ins.open(uow, identity, "cli")
    anonymous.headers["authorization"] = f"Bearer {opened.token.reveal()}"
    return anonymous


async def test_nobody_gets_one_for_the_account_that_may_do_everything(
    person, anonymous, control_plane, public_key: str
):
    client = await signed_in(anonymous, control_plane, await person("root", "requester"))
    answer = await client.post("/v1/ssh-certificates", json={"public_key": public_key})
    assert answer.status_code == 403
    assert "root" in answer.json()["detail"]


# -------------------------------------------------------------- for servers


async def refused(anonymous: httpx.AsyncClient, folder: Path, certificate: str) -> bool:
    """By the list that servers fetch, as OpenSSH reads it."""
    (folder / "revoked").write_bytes((await anonymous.get("/v1/ssh-ca/revoked")).content)
    file = folder / "asked-cert.pub"
    file.write_text(certificate)
    command = ["ssh-keygen", "-Q", "-f", str(folder / "revoked"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode == 1


async def test_servers_get_the_public_key_that_signed(requester, anonymous, public_key: str, tmp_path: Path):
    issued = await made(requester, public_key)
    (tmp_path / "ca.pub").write_text((await anonymous.get("/v1/ssh-ca")).text)
    told = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(tmp_path / "ca.pub")], capture_output=True, text=True, check=True
    )
    fingerprint = told.stdout.split()[1]
    assert f"Signing CA: ED25519 {fingerprint}" in shown(tmp_path, issued["certificate"])


async def test_a_revoked_one_is_in_the_list_until_it_expires(
    requester, anonymous, public_key: str, tmp_path: Path, clock: ManualClock
):
    issued, other = await made(requester, public_key), await made(requester, public_key)
    assert not await refused(anonymous, tmp_path, issued["certificate"])
    assert (await requester.delete(f"/v1/credentials/{issued['credential_id']}")).status_code == 204
    assert await refused(anonymous, tmp_path, issued["certificate"])
    assert not await refused(anonymous, tmp_path, other["certificate"])
    clock.advance(hours=2)
    assert not await refused(anonymous, tmp_path, issued["certificate"])


async def test_a_revoked_token_is_none_of_servers_business(requester, anonymous):
    token = (await requester.post("/v1/tokens", json={})).json()["credential_id"]
    await requester.delete(f"/v1/credentials/{token}")
    assert token.encode() not in (await anonymous.get("/v1/ssh-ca/revoked")).content


@pytest.mark.parametrize("end", ["disabled", "deleted"])
async def test_those_of_an_ended_identity_are_in_the_list_even_when_it_is_gone(
    end: str, person, anonymous, control_plane: ControlPlane, public_key: str, tmp_path: Path
):
    client = await signed_in(anonymous, control_plane, await person("lena", "requester"))
    issued = await made(client, public_key)
    async with control_plane.units() as uow:
        if end == "disabled":
            await control_plane.identities.change(uow, SYSTEM, "lena", disabled=True)
        else:
            await control_plane.identities.delete(uow, SYSTEM, "lena")
    assert await refused(anonymous, tmp_path, issued["certificate"])


# -------------------------------------------------------------- the authority's keys


def test_a_new_key_signs_and_the_old_one_is_trusted_still(tmp_path: Path) -> None:
    seal = files_of(tmp_path)
    first = SshAuthority.open(tmp_path / "ssh-ca", seal)
    add_key(tmp_path / "ssh-ca", seal)
    both = SshAuthority.open(tmp_path / "ssh-ca", seal)
    assert both.public_keys[0] == first.public_keys[0]
    assert len(both.public_keys) == 2
    assert SshAuthority.open(tmp_path / "ssh-ca", seal).public_keys == both.public_keys


def test_the_command_adds_a_key_and_never_writes_over_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = SshAuthority.open(tmp_path / "ssh-ca", files_of(tmp_path)).public_keys
    monkeypatch.setenv("ASSENTRY_STATE_DIR", str(tmp_path))
    assert main(["ssh-ca-add"]) == 0
    assert "restart the control plane" in capsys.readouterr().out
    second = SshAuthority.open(tmp_path / "ssh-ca", files_of(tmp_path)).public_keys[1]
    (tmp_path / "ssh-ca" / "0001.pem").unlink()
    assert main(["ssh-ca-add"]) == 0
    last = SshAuthority.open(tmp_path / "ssh-ca", files_of(tmp_path)).public_keys
    assert (len(last), last[0]) == (2, second)
    assert last[1] not in (*first, second)


def test_a_key_whose_file_lost_its_number_is_refused_and_no_other_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    SshAuthority.open(tmp_path / "ssh-ca", files_of(tmp_path))
    retired = (tmp_path / "ssh-ca" / "0001.pem").rename(tmp_path / "ssh-ca" / "retired-0001.pem")
    with pytest.raises(SealError, match=r"retired-0001\.pem does not begin with the key's number.*take the file out"):
        SshAuthority.open(tmp_path / "ssh-ca", files_of(tmp_path))
    monkeypatch.setenv("ASSENTRY_STATE_DIR", str(tmp_path))
    assert main(["ssh-ca-add"]) != 0
    assert "retired-0001.pem" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "ssh-ca").iterdir()] == [retired.name]


def test_the_key_with_the_highest_number_signs(tmp_path: Path) -> None:
    seal = files_of(tmp_path)
    first = SshAuthority.open(tmp_path / "ssh-ca", seal).public_keys[0]
    (tmp_path / "ssh-ca" / "0001.pem").rename(tmp_path / "ssh-ca" / "9999.pem")
    add_key(tmp_path / "ssh-ca", seal)
    assert (tmp_path / "ssh-ca" / "10000.pem").exists()
    assert SshAuthority.open(tmp_path / "ssh-ca", seal).public_keys[0] == first


def test_its_key_lies_sealed_and_is_printed_nowhere(tmp_path: Path) -> None:
    authority = SshAuthority.open(tmp_path / "ssh-ca", files_of(tmp_path))
    (file,) = (tmp_path / "ssh-ca").iterdir()
    assert b"PRIVATE KEY" not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0
    assert "***" in repr(authority)
    other = tmp_path / "elsewhere"
    other.mkdir()
    with pytest.raises(SealError):
        SshAuthority.open(tmp_path / "ssh-ca", files_of(other))


async def test_whom_a_provider_has_named_is_named_at_no_server_beyond_those_that_are_told(
    control_plane: ControlPlane, admin: httpx.AsyncClient, anonymous: httpx.AsyncClient, public_key: str
):
    await target(admin, "bastion")
    assert (await admin.put("/v1/groups/everyone", json={"roles": ["requester"], "members": []})).is_success
    async with control_plane.units() as uow:
        named = await control_plane.who.sourced.make_person(uow, SYSTEM, "provider:corp", "ubuntu", "")
        await control_plane.who.sourced.set_groups(uow, SYSTEM, "provider:corp", named, {"everyone"})
        named = await control_plane.identities.named(uow, "ubuntu")
        opened = await control_plane.sign_ins.open(uow, named, "cli")
    anonymous.headers["authorization"] = f"Bearer {opened.token.reveal()}"
    refused = await anonymous.post("/v1/ssh-certificates", json={"public_key": public_key})
    assert refused.status_code == 403
    assert "name the targets that it is for" in refused.json()["detail"]
    assert (await made(anonymous, public_key, targets=["bastion"]))["principals"] == ["ubuntu/bastion"]
