"""What `deploy/` shows can be used as it stands: the agent's file loads, the documents apply, the units are sound."""

from __future__ import annotations

import configparser
import re
import secrets
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from msgspec import convert, structs

from control_plane.cli.yaml_documents import load_documents
from control_plane.config import Settings
from data_plane import config as agent_configuration
from data_plane.credentials.ports import PasswordCredential
from data_plane.gate.interface import TargetFacts
from data_plane.identifiers import TargetName
from data_plane.policy.model import AnyDocument, Mask, Policy, Target, TargetTls
from data_plane.protocols.interface import Examined
from data_plane.protocols.postgres.examination.examining import examine
from data_plane.protocols.postgres.statements import StatementClassifier
from data_plane.runtime.secret import Secret
from tests.support.postgres import PostgresServer

DEPLOY = Path(__file__).parents[3] / "deploy"


def test_the_agents_example_loads_with_its_files_in_place(tmp_path: Path) -> None:
    for name in ("ca.pem", "join-token", "orders.password"):
        (tmp_path / name).write_text(name)
    example = (DEPLOY / "examples" / "agent.toml").read_text().replace("/etc/assentry", str(tmp_path))
    file = tmp_path / "agent.toml"
    file.write_text(example)
    config = agent_configuration.load(file)
    assert config.settings.name == "warehouse"
    assert config.listeners["orders"].port == 15432
    assert config.enrolment == "assentry.example.com:7444"
    assert config.places == {"orders": tmp_path / "orders.password"}
    assert config.join_token.reveal() == "join-token"


@pytest.mark.parametrize("place", agent_configuration.CredentialSettings.__struct_fields__)
def test_every_other_place_of_an_account_in_the_agents_example_loads(tmp_path: Path, place: str) -> None:
    for name in ("ca.pem", "join-token", "vault-secret-id"):
        (tmp_path / name).write_text(name)
    example = (DEPLOY / "examples" / "agent.toml").read_text().replace("/etc/assentry", str(tmp_path))
    given, _, places = example.partition("# In place of password_file")
    (table,) = (one for one in places.split("#\n") if place in one and "# [" in one)
    lines = [line for line in given.splitlines() if not line.startswith("password_file")]
    if place == "vault_database":
        lines = [line for line in lines if not line.startswith("username")]
    lines += [line.removeprefix("# ") for line in table[table.index("# [") :].splitlines()]
    auth = ('{role = "assentry-agent"}', '{role = "assentry-agent", jwt_file = "ca.pem"}')
    (tmp_path / "agent.toml").write_text("\n".join(lines).replace(*auth))
    found = agent_configuration.load(tmp_path / "agent.toml").places["orders"]
    assert isinstance(found, agent_configuration.CredentialSettings)
    assert found.chosen == [place]


def test_what_the_example_says_is_the_default_is_the_default() -> None:
    text = (DEPLOY / "examples" / "agent.toml").read_text()
    defaults = text.split("as it is then:")[1].partition("[targets")[0]
    fields = agent_configuration.Settings.__struct_defaults__
    names = agent_configuration.Settings.__struct_fields__[-len(fields) :]
    known = dict(zip(names, fields, strict=True))
    for name, value in re.findall(r"^(\w+) = (\S+)", defaults, re.MULTILINE):
        assert value.strip('"') == str(known[name]), name


async def test_the_example_documents_apply_and_applying_them_again_changes_nothing(admin: httpx.AsyncClient) -> None:
    documents = [document.content for document in load_documents(DEPLOY / "examples" / "documents")]
    for expected in ("create", "unchanged"):
        answer = await admin.post("/v1/documents/apply", json={"documents": documents})
        assert answer.status_code == 200, answer.text
        assert {change["change"] for change in answer.json()["changes"]} == {expected}


async def test_the_example_channels_apply(admin: httpx.AsyncClient) -> None:
    documents = [document.content for document in load_documents(DEPLOY / "examples" / "channels.yaml")]
    answer = await admin.post("/v1/documents/apply", json={"documents": documents})
    assert answer.status_code == 200, answer.text


def test_every_setting_of_the_control_plane_and_the_agent_is_in_the_readme() -> None:
    readme = (DEPLOY / "README.md").read_text()
    for name in Settings.model_fields:
        assert f"`ASSENTRY_{name.upper()}`" in readme
    example = (DEPLOY / "examples" / "agent.toml").read_text()
    for name in (
        *agent_configuration.Settings.__struct_fields__,
        *agent_configuration.TargetSettings.__struct_fields__,
    ):
        assert name in example, name


def test_the_example_account_reads_and_changes_rows_and_does_no_more(postgres: PostgresServer) -> None:
    given = (DEPLOY / "README.md").read_text().split("```sql")[2].split("```")[0]
    database = postgres.fresh_database()
    statements = given.replace("DATABASE orders", f"DATABASE {database}").strip().split(";\n")
    postgres.execute("CREATE TABLE old (id serial)", *statements, "CREATE TABLE new (id serial)", database=database)
    account = f"dbname={database} user=assentry_orders password='a long random one'"
    with psycopg.connect(f"host={postgres.host} port={postgres.port} {account}", autocommit=True) as connection:
        for table in ("old", "new"):
            connection.execute(f"DELETE FROM {table} RETURNING id")
        connection.execute("INSERT INTO old DEFAULT VALUES")
        for refused in ("DROP TABLE old", "TRUNCATE old", "CREATE ROLE another", "CREATE DATABASE another"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused)


async def test_the_example_target_is_set_up_by_what_the_doctor_writes_for_the_example_policies(
    postgres: PostgresServer,
) -> None:
    database, mine = postgres.fresh_database(), f"t{secrets.token_hex(4)}"
    given = (DEPLOY / "README.md").read_text().split("```sql")[1].split("```")[0]
    statement = given.replace("DATABASE orders", f"DATABASE {database}").replace("assentry_orders", mine)
    tables = "CREATE TABLE customers (id int, email text, card text); CREATE TABLE orders (id serial)"
    await postgres._execute((tables, statement), database)
    credential = PasswordCredential(mine, Secret("a long random one"))

    async def look() -> dict[str, Any]:
        return await examine(_example(postgres, database, credential), StatementClassifier())

    written = await look()
    await postgres._execute((written["sql"],), database)
    left = {one["code"] for one in (await look())["findings"] if one["severity"] != "remark"}
    assert left <= {"createrole-before-16"}


def _example(server: PostgresServer, database: str, credential: PasswordCredential) -> Examined:
    found = [
        convert(one.content, AnyDocument) for one in _examples() if one.content["kind"] in ("Policy", "Mask", "Target")
    ]
    (target,) = [one for one in found if isinstance(one, Target)]
    address, tls = f"{server.host}:{server.port}", TargetTls("disable")
    return Examined(
        target=TargetFacts(TargetName("orders"), "postgres", target.spec.environment, target.metadata.labels),
        spec=structs.replace(target.spec, address=address, database=database, tls=tls),
        policies=tuple(one.spec for one in found if isinstance(one, Policy)),
        masks={one.metadata.name: one.spec for one in found if isinstance(one, Mask)},
        credential=credential,
        options={},
    )


def _examples() -> list[Any]:
    return load_documents(DEPLOY / "examples" / "documents")


def test_the_example_account_of_previews_reads_and_changes_nothing(postgres: PostgresServer) -> None:
    given = (DEPLOY / "README.md").read_text().split("```sql")[3].split("```")[0]
    database = postgres.fresh_database()
    statement = given.replace("DATABASE orders", f"DATABASE {database}")
    postgres.execute("CREATE TABLE old (id int)", statement, "CREATE TABLE new (id int)", database=database)
    account = f"dbname={database} user=assentry_preview password='another long random one'"
    with psycopg.connect(f"host={postgres.host} port={postgres.port} {account}", autocommit=True) as connection:
        for table in ("old", "new"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        connection.execute("SET default_transaction_read_only = off")
        for refused in ("DELETE FROM old", "INSERT INTO new VALUES (1)", "TRUNCATE old", "CREATE ROLE another"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused)


def test_the_example_environment_is_one_that_the_control_plane_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in (DEPLOY / "examples" / "control-plane.env").read_text().splitlines():
        name, separator, value = line.removeprefix("# ").partition("=")
        if separator and name.startswith("ASSENTRY_"):
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.url == "https://assentry.example.com"
    assert settings.database.get_backend_name() == "postgresql"


@pytest.mark.parametrize("plane", ["control-plane", "agent"])
def test_a_unit_runs_without_rights_that_it_does_not_need(plane: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / f"assentry-{plane}.service")
    service = unit["Service"]
    assert service["ExecStart"].startswith(f"/opt/assentry/bin/assentry {plane}")
    assert service["User"] != "root"
    assert service["CapabilityBoundingSet"] == ""
    assert {service[name] for name in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome")} == {"yes"}
    assert service["ProtectSystem"] == "strict"
    assert service["StateDirectoryMode"] == "0700"
