"""SSH certificates with OpenSSH itself: an sshd that trusts the authority, ssh that asks for what it needs."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_cli import Cli
from tests.support.sshd import HOST, Sshd, running_sshd
from tests.support.stack import REQUESTER, Stack, eventually

COMMAND = Path(sys.executable).parent  # where `assentry` is, for what ssh runs


@pytest.fixture(scope="module")
def sshd(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        server.trust(public(stack, "/v1/ssh-ca").text, public(stack, "/v1/ssh-ca/revoked").content)
        yield server


@pytest.fixture
def bot(stack: Stack, tmp_path: Path) -> Cli:
    """The machine at its command line, with a key of its own."""
    key = stack.admin.post("/v1/service-account-keys", {"identity": REQUESTER, "ttl_days": 1})["key"]
    path = f"{COMMAND}:{os.environ['PATH']}"
    return Cli(tmp_path, ASSENTRY_URL=stack.control.url, ASSENTRY_TOKEN=key, PATH=path)


def public(stack: Stack, path: str) -> httpx.Response:
    """As a server fetches it: nobody is signed in."""
    return httpx.get(f"{stack.control.url}{path}").raise_for_status()


def files(issued: dict[str, Any]) -> list[str]:
    return [
        "-i",
        issued["key"],
        "-o",
        f"CertificateFile={issued['certificate']}",
        "-o",
        "IdentitiesOnly=yes",
        "-F",
        "none",
    ]


def test_a_server_that_trusts_the_authority_lets_the_identity_in_by_its_name(bot: Cli, sshd: Sshd) -> None:
    issued = bot.json("ssh-certificate")
    sshd.take(REQUESTER)
    done = sshd.ssh(*files(issued))
    assert done.stdout.strip() == sshd.user, sshd.log
    assert f"ID {issued['credential_id']} (serial" in sshd.log
    assert stat.S_IMODE(Path(issued["key"]).stat().st_mode) == 0o600


def test_a_certificate_without_its_key_or_of_another_name_lets_nobody_in(bot: Cli, sshd: Sshd, tmp_path: Path) -> None:
    issued = bot.json("ssh-certificate")
    sshd.take("somebody-else")
    assert "Permission denied" in sshd.ssh(*files(issued)).stderr
    sshd.take(REQUESTER)
    other = bot.json("ssh-certificate", "--folder", str(tmp_path / "other"))
    assert "Permission denied" in sshd.ssh(*files({**issued, "key": other["key"]})).stderr


def test_one_that_is_bound_to_a_target_is_refused_by_every_other_server(bot: Cli, sshd: Sshd) -> None:
    issued = bot.json("ssh-certificate", "shop")
    sshd.take(REQUESTER, f"{REQUESTER}/open")
    assert "Permission denied" in sshd.ssh(*files(issued)).stderr
    sshd.take(f"{REQUESTER}/shop")
    assert sshd.ssh(*files(issued)).returncode == 0, sshd.log


def test_one_that_is_bound_to_networks_is_refused_from_elsewhere(bot: Cli, sshd: Sshd) -> None:
    sshd.take(REQUESTER)
    here = bot.json("ssh-certificate", "--network", "127.0.0.0/8", "--network", "2001:db8::/32")
    assert sshd.ssh(*files(here)).returncode == 0, sshd.log
    elsewhere = bot.json("ssh-certificate", "--network", "192.0.2.0/24")
    assert "Permission denied" in sshd.ssh(*files(elsewhere)).stderr
    assert "Refused by certificate options" in sshd.log


def test_a_revoked_one_is_refused_as_soon_as_the_server_has_the_list(bot: Cli, sshd: Sshd, stack: Stack) -> None:
    sshd.take(REQUESTER)
    issued, other = bot.json("ssh-certificate"), bot.json("ssh-certificate", "--folder", str(bot.profile.parent / "b"))
    assert sshd.ssh(*files(issued)).returncode == 0, sshd.log
    stack.admin.delete(f"/v1/credentials/{issued['credential_id']}")
    sshd.refuse(public(stack, "/v1/ssh-ca/revoked").content)
    assert "Permission denied" in sshd.ssh(*files(issued)).stderr
    assert "revoked" in sshd.log
    assert sshd.ssh(*files(other)).returncode == 0, sshd.log


def test_it_allows_a_terminal_and_no_forwarding(bot: Cli, sshd: Sshd) -> None:
    issued = bot.json("ssh-certificate")
    sshd.take(REQUESTER)
    done = sshd.ssh(*files(issued), "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1")
    assert done.returncode != 0
    assert "remote port forwarding failed" in done.stderr


def test_ssh_agent_holds_the_key_and_no_file_does(bot: Cli, sshd: Sshd, tmp_path: Path) -> None:
    sshd.take(REQUESTER)
    socket = tmp_path / "agent.sock"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        eventually(socket.exists, "the socket of ssh-agent")
        said = bot.run("ssh-certificate", "--agent", SSH_AUTH_SOCK=str(socket))
        assert said.returncode == 0, said.stderr
        assert sshd.ssh("-F", "none", SSH_AUTH_SOCK=str(socket)).returncode == 0, sshd.log
        assert not list(tmp_path.rglob("id_ed25519*"))
    finally:
        agent.terminate()
        agent.wait()


def test_without_an_ssh_agent_it_says_so(bot: Cli) -> None:
    assert "ssh-agent did not take the key" in bot.refused("ssh-certificate", "--agent", SSH_AUTH_SOCK="/nonexistent")


# -------------------------------------------------------------- ssh asks by itself


def configured(bot: Cli, sshd: Sshd, *words: str) -> list[str]:
    """ssh's options: the block that the helper prints, and nothing else."""
    block = bot.said("credential-helper", "ssh", *words, "--setup", HOST)
    config = bot.profile.parent / "ssh_config"
    config.write_text(block)
    sshd.take(f"{REQUESTER}/shop" if "shop" in words else REQUESTER)
    return ["-F", str(config)]


def asked(bot: Cli) -> dict[str, str]:
    return {name: bot.environment[name] for name in ("ASSENTRY_URL", "ASSENTRY_TOKEN", "ASSENTRY_PROFILE", "PATH")}


def test_ssh_gets_its_certificate_when_it_connects_and_keeps_it_while_it_lasts(bot: Cli, sshd: Sshd) -> None:
    options = configured(bot, sshd, "shop")
    assert sshd.ssh(*options, **asked(bot)).stdout.strip() == sshd.user, sshd.log
    certificate = bot.profile.parent / "ssh" / "shop" / "id_ed25519-cert.pub"
    first = certificate.read_bytes()
    assert sshd.ssh(*options, **asked(bot)).returncode == 0
    assert certificate.read_bytes() == first


def test_ssh_gets_another_one_when_little_is_left_or_it_is_for_another_network(bot: Cli, sshd: Sshd) -> None:
    certificate = bot.profile.parent / "ssh" / "id_ed25519-cert.pub"
    seen = []
    for words in (["--minutes", "2"], [], ["--network", "127.0.0.0/8"], ["--network", "127.0.0.0/8"]):
        bot.said("credential-helper", "ssh", *words)
        seen.append(certificate.read_bytes())
    assert len(set(seen[:3])) == 3
    assert seen[2] == seen[3]


def test_ssh_is_told_why_there_is_none_and_goes_on_without(bot: Cli, sshd: Sshd) -> None:
    options = configured(bot, sshd)
    done = sshd.ssh(*options, **{**asked(bot), "ASSENTRY_TOKEN": "assentry_k_wrong"})
    assert "login" in done.stderr
    assert "Permission denied" in done.stderr


def test_a_pattern_that_would_end_the_block_is_refused(bot: Cli) -> None:
    assert "no list of host patterns" in bot.refused("credential-helper", "ssh", "--setup", 'a" exec "id')
