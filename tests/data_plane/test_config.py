"""The agent's configuration file: what it means, and how a mistake in it is told."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_plane.config import Address, ConfigError, load

GOOD = """
name = "demo"
state = "state"
control_plane = "cp.example:7443"
control_plane_ca = "ca.pem"
join_token_file = "token"

[targets.orders]
listen = "127.0.0.1:15432"
username = "app"
password_file = "orders.password"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Its path is short, because sockets are to have room in it."""
    with tempfile.TemporaryDirectory(prefix="assentry-") as name:
        folder = Path(name)
        (folder / "ca.pem").write_text("CA")
        (folder / "token").write_text("ajt_secret\n")
        (folder / "orders.password").write_text("hunter2 \n")
        yield folder


def configured(folder: Path, text: str = GOOD) -> Path:
    file = folder / "agent.toml"
    file.write_text(text)
    return file


def test_file_names_are_relative_to_the_configuration(folder: Path) -> None:
    config = load(configured(folder))
    assert config.state == folder / "state"
    assert config.control_plane_ca == b"CA"
    assert config.join_token.reveal() == "ajt_secret"
    assert config.passwords["orders"].reveal() == "hunter2 "
    assert config.listeners == {"orders": Address("127.0.0.1", 15432)}


def test_enrolment_is_on_the_next_port_unless_told(folder: Path) -> None:
    assert load(configured(folder)).enrolment == "cp.example:7444"
    told = 'enrolment = "other.example:9"\n' + GOOD
    assert load(configured(folder, told)).enrolment == "other.example:9"
    six = GOOD.replace("cp.example:7443", "[::1]:7443")
    assert load(configured(folder, six)).enrolment == "[::1]:7444"


def test_a_preview_account_has_a_password_of_its_own(folder: Path) -> None:
    (folder / "looker.password").write_text("hunter4\n")
    config = load(configured(folder, GOOD + 'preview_username = "looker"\npreview_password_file = "looker.password"\n'))
    assert config.preview_passwords["orders"].reveal() == "hunter4"
    assert "hunter4" not in repr(config)
    assert load(configured(folder)).preview_passwords == {}


def test_a_password_may_come_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GOOD.replace('password_file = "orders.password"', 'password_env = "ORDERS_PASSWORD"')
    with pytest.raises(ConfigError, match="ORDERS_PASSWORD is not in the environment"):
        load(configured(folder, text))
    monkeypatch.setenv("ORDERS_PASSWORD", "hunter3")
    assert load(configured(folder, text)).passwords["orders"].reveal() == "hunter3"


def test_secrets_are_not_shown(folder: Path) -> None:
    shown = repr(load(configured(folder)))
    assert "hunter2" not in shown
    assert "ajt_secret" not in shown


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('name = "demo"', 'nam = "demo"', "unknown field 'nam'; did you mean 'name'?"),
        ('name = "demo"', "", "missing required field `name`"),
        ('name = "demo"', 'name = "demo"\nworkers = "two"', "workers: expected `int`"),
        ('name = "demo"', 'name = "demo"\nworkers = 0', "workers: must be from 1 to 64"),
        ('name = "demo"', 'name = "demo', "line 2"),
        ('name = "demo"', 'name = "demo"\nmetrics = "0.0.0.0:9464"', "metrics: must be a loopback address"),
        ("cp.example:7443", "cp.example", "control_plane: 'cp.example' is not host:port"),
        ("cp.example:7443", "cp.example:99999", "control_plane: 'cp.example:99999' is not host:port"),
        ("127.0.0.1:15432", "15432", "targets.orders.listen: '15432' is not host:port"),
        ('username = "app"', 'usrname = "app"', "targets.orders: unknown field 'usrname'; did you mean 'username'?"),
        ('username = "app"', "username = 7", "targets.orders.username: expected `str`"),
        (
            'username = "app"',
            'username = "app"\nclient_tls = "never"',
            "targets.orders.client_tls: invalid enum value 'never'; choose one of: optional, required",
        ),
        ('password_file = "orders.password"', "", "targets.orders: needs password_file or password_env"),
        ("orders.password", "missing", "targets.orders.password_file: missing cannot be read: No such file"),
        ("username = ", 'preview_username = "app"\nusername = ', "preview_username: must be another account than"),
        (
            "username = ",
            'preview_username = "looker"\nusername = ',
            "targets.orders: needs preview_password_file or preview_password_env",
        ),
        ("username = ", 'preview_password_env = "X"\nusername = ', "preview_username: a preview password needs it"),
        ("[targets.orders]", "[target.orders]", "targets: write a table [targets.NAME]"),
    ],
)
def test_a_mistake_is_told_with_file_field_and_what_to_do(folder: Path, before: str, after: str, told: str) -> None:
    assert before in GOOD
    file = configured(folder, GOOD.replace(before, after))
    with pytest.raises(ConfigError) as error:
        load(file)
    assert str(error.value).startswith(f"{file}: ")
    assert told in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "agent.toml")


def test_a_state_directory_whose_sockets_would_have_no_room_is_told(folder: Path) -> None:
    longest = 80 - len(str(folder)) - 1
    assert load(configured(folder, GOOD.replace('"state"', f'"{"s" * longest}"'))).state.name == "s" * longest
    with pytest.raises(ConfigError, match=r"state: .* is too long for sockets; take a path of 80 bytes at most"):
        load(configured(folder, GOOD.replace('"state"', f'"{"s" * (longest + 1)}"')))
