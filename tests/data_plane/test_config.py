"""The agent's configuration file: what it means, and how a mistake in it is told."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_plane.config import Address, ConfigError, load
from data_plane.credentials.settings import AppRole, CloudSqlIam, CredentialSettings, VaultAuth
from data_plane.policy.pins import Pin
from data_plane.runtime.secret import Secret

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
    assert config.places == {"orders": folder / "orders.password"}
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
    assert config.preview_places == {"orders": folder / "looker.password"}
    assert load(configured(folder)).preview_places == {}


def test_a_target_may_be_pinned_to_an_address_and_an_authority(folder: Path) -> None:
    assert load(configured(folder)).pins == {}
    config = load(configured(folder, GOOD + 'pin_address = "db:5432"\npin_ca_file = "ca.pem"\n'))
    assert config.pins == {"orders": Pin("db:5432", "CA")}
    with pytest.raises(ConfigError, match=r"targets.orders.pin_address: pin_ca_file needs it"):
        load(configured(folder, GOOD + 'pin_ca_file = "ca.pem"\n'))
    with pytest.raises(ConfigError, match=r"targets.orders.pin_ca_file: none.pem cannot be read"):
        load(configured(folder, GOOD + 'pin_address = "db:5432"\npin_ca_file = "none.pem"\n'))


def test_a_password_may_come_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GOOD.replace('password_file = "orders.password"', 'password_env = "ORDERS_PASSWORD"')
    with pytest.raises(ConfigError, match="ORDERS_PASSWORD is not in the environment"):
        load(configured(folder, text))
    monkeypatch.setenv("ORDERS_PASSWORD", "hunter3")
    config = load(configured(folder, text))
    assert config.places == {"orders": Secret("hunter3")}
    assert "hunter3" not in repr(config)


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
        (
            'password_file = "orders.password"',
            'password_file = "orders.password"\npassword_env = "X"',
            "targets.orders: password_file and password_env: choose one of them",
        ),
        ('username = "app"', "", "targets.orders.password_file: the secret names no username: set username in"),
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


VAULT = """
address = "https://vault.example:8200"
auth = {approle = {role_id = "r", secret_id_file = "token"}}
"""
KV = f"[targets.orders.credential.vault_kv]\npath = 'orders'\n{VAULT}"
DATABASE = f"[targets.orders.credential.vault_database]\nrole = 'orders'\nca_file = 'ca.pem'\n{VAULT}"
ELSEWHERE = GOOD.replace('password_file = "orders.password"\n', "")


def test_a_target_may_say_nothing_of_its_account_because_its_document_does(folder: Path) -> None:
    config = load(configured(folder, ELSEWHERE.replace('username = "app"\n', "")))
    assert config.places == config.preview_places == {}


def test_files_of_an_account_elsewhere_are_relative_to_the_configuration_too(folder: Path) -> None:
    place = load(configured(folder, ELSEWHERE + KV)).places["orders"]
    assert isinstance(place, CredentialSettings)
    assert place.vault_kv is not None
    assert (place.vault_kv.mount, place.vault_kv.path) == ("secret", "orders")
    assert place.vault_kv.auth == VaultAuth(approle=AppRole("r", str(folder / "token")))
    made = load(configured(folder, ELSEWHERE.replace('username = "app"\n', "") + DATABASE)).places["orders"]
    assert isinstance(made, CredentialSettings)
    assert made.vault_database is not None
    assert (made.vault_database.mount, made.vault_database.ca_file) == ("database", str(folder / "ca.pem"))


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (KV + "\n[targets.orders.credential.rds_iam]\nregion = 'eu'", "vault_kv and credential.rds_iam: choose one"),
        (KV.replace("path", "pth"), "credential.vault_kv: unknown field 'pth'; did you mean 'path'?"),
        (KV.replace("role_id", "role"), "vault_kv.auth.approle: unknown field 'role'; did you mean 'role_id'?"),
        (KV.replace("path = 'orders'", ""), "credential.vault_kv: object missing required field `path`"),
        (KV.replace("orders'", "'").replace("'orders", "'"), "credential.vault_kv.path: is empty"),
        (KV.replace("https", "http"), "vault_kv.address: 'http://vault.example:8200' is not https://host:port"),
        (KV.replace("'token'", "x").replace('"token"', '"gone"'), "auth.approle.secret_id_file: gone cannot be read"),
        (KV.replace("{approle", "{token_file = 'token', approle"), "auth: needs one of: token_file, approle,"),
        (KV.replace('{approle = {role_id = "r", secret_id_file = "token"}}', "{}"), "vault_kv.auth: needs one of"),
        (KV + "ca_file = 'gone'", "credential.vault_kv.ca_file: gone cannot be read: No such file"),
        (DATABASE, "targets.orders.username: vault_database names the accounts itself: leave it out"),
        ("[targets.orders.credential.vault]", "targets.orders.credential: unknown field 'vault'; "),
        ("[targets.orders.credential.rds_iam]\nregion = ''", "credential.rds_iam.region: is empty"),
        ("[targets.orders.credential.aws_secret]\nid = 'x'", "missing required field `region`"),
    ],
)
def test_a_mistake_in_where_an_account_is_kept_is_told(folder: Path, table: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(configured(folder, ELSEWHERE + table))
    assert str(error.value).startswith(f"{folder / 'agent.toml'}: targets.orders")
    assert problem in str(error.value)


def test_a_sign_in_token_needs_an_account_and_one_place_only(folder: Path) -> None:
    table = "[targets.orders.credential]\ncloud_sql_iam = {}\n"
    assert load(configured(folder, ELSEWHERE + table)).places["orders"] == CredentialSettings(
        cloud_sql_iam=CloudSqlIam()
    )
    with pytest.raises(ConfigError, match=r"targets\.orders\.username: sign-in tokens are for an account: name it"):
        load(configured(folder, ELSEWHERE.replace('username = "app"\n', "") + table))
    with pytest.raises(ConfigError, match=r"credential\.cloud_sql_iam and password_file: choose one of them"):
        load(configured(folder, GOOD + table))


def test_a_secret_with_the_account_in_it_needs_no_username(folder: Path) -> None:
    (folder / "orders.password").write_text('{"username": "app", "password": "hunter2"}')
    assert load(configured(folder, GOOD.replace('username = "app"\n', ""))).places == {
        "orders": folder / "orders.password"
    }
