"""What the text of a secret says about the account, and secrets in files and variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_plane.credentials.files import FileSecret, FixedSecret
from data_plane.credentials.ports import CredentialError, PasswordCredential
from data_plane.credentials.stored import StoredCredential, account, renewed
from data_plane.runtime.secret import Secret


@pytest.mark.parametrize(
    ("text", "username", "password"),
    [
        ("hunter2 ", "app", "hunter2 "),
        ('{"username": "own", "password": "p"}', "own", "p"),
        ('{"password": "p"}', "app", "p"),
        ("{not json", "app", "{not json"),
        ("12345", "app", "12345"),
        ('"quoted"', "app", '"quoted"'),
    ],
)
def test_a_secret_is_a_bare_password_or_an_object(text: str, username: str, password: str) -> None:
    assert account(Secret(text), "app") == PasswordCredential(username, Secret(password))


@pytest.mark.parametrize(
    ("text", "username", "problem"),
    [
        ('{"username": "own-secret"}', "app", "no password"),
        ('{"password": ""}', "app", "no password"),
        ('{"password": 5177}', "app", "no password"),
        ("", "app", "no password"),
        ("only-secret", "", "no username"),
        ('{"username": 5177, "password": "only-secret"}', "", "no text"),
    ],
)
def test_what_is_wrong_with_a_secret_is_told_without_it(text: str, username: str, problem: str) -> None:
    with pytest.raises(CredentialError, match=problem) as caught:
        account(Secret(text), username)
    assert "secret-" not in str(caught.value)
    assert "only-secret" not in str(caught.value)
    assert "5177" not in str(caught.value)


def test_a_new_password_leaves_the_rest_of_an_object_alone() -> None:
    kept = renewed(Secret('{"engine": "postgres", "password": "old"}'), PasswordCredential("app", Secret("new")), "app")
    assert kept.reveal() == '{"engine":"postgres","password":"new","username":"app"}'


def test_a_bare_password_stays_one_unless_the_account_changes() -> None:
    assert renewed(Secret("old"), PasswordCredential("app", Secret("{new")), "app").reveal() == "{new"
    other = renewed(Secret("old"), PasswordCredential("app_b", Secret("new")), "app")
    assert account(other, "app") == PasswordCredential("app_b", Secret("new"))


async def test_a_file_is_read_again_when_it_was_replaced(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    store = FileSecret(file)
    assert (await store.read()).reveal() == "one"
    assert await store.read() is await store.read()
    file.rename(tmp_path / "old")
    file.write_text("two\n\n")
    assert (await store.read()).reveal() == "two\n"


async def test_a_secret_that_was_written_is_what_is_read_by_all(tmp_path: Path) -> None:
    (tmp_path / "mounted").write_text("old")
    link = tmp_path / "password"
    link.symlink_to("mounted")
    store = FileSecret(link)
    await store.read()
    await store.write(Secret("new"))
    assert (await store.read()).reveal() == (await FileSecret(link).read()).reveal() == "new"
    assert link.is_symlink()
    assert (tmp_path / "mounted").stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mounted", "password"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), (b"\n", "is empty"), (b"\xff", "not UTF-8"), (b"x" * 70_000, "larger than")],
)
async def test_a_file_that_holds_no_secret_is_told(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CredentialError, match=problem):
        await FileSecret(file).read()


async def test_what_cannot_be_written_keeps_the_old_value(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="cannot be replaced: No such file"):
        await FileSecret(tmp_path / "missing" / "password").write(Secret("new"))
    told = FixedSecret(Secret("old"), "the variable ORDERS_PASSWORD")
    with pytest.raises(CredentialError, match="ORDERS_PASSWORD cannot be written"):
        await told.write(Secret("new"))
    assert (await told.read()).reveal() == "old"
    with pytest.raises(CredentialError, match="ORDERS_PASSWORD is empty"):
        await FixedSecret(Secret(""), "the variable ORDERS_PASSWORD").read()


async def test_every_sign_in_uses_what_is_stored_by_then(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one")
    source = StoredCredential(FileSecret(file), "app", preview=None)
    assert await source.own() == PasswordCredential("app", Secret("one"))
    await source.store.write(Secret('{"username": "app_b", "password": "two"}'))
    assert await source.own() == PasswordCredential("app_b", Secret("two"))
    assert await source.preview() is None
    looker = StoredCredential(source.store, "app", preview=StoredCredential(FixedSecret(Secret("p"), "env"), "looker"))
    assert await looker.preview() == PasswordCredential("looker", Secret("p"))
