"""Keys on disk, secrets that do not print, ids, cursors."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from control_plane.kit.errors import InvalidError
from control_plane.kit.ids import is_id, new_id
from control_plane.kit.keys import GRANT_CONTEXT, SNAPSHOT_CONTEXT, SigningKeys, add_key
from control_plane.kit.logs import hide_secrets
from control_plane.kit.names import is_name
from control_plane.kit.pagination import Paging, decode_cursor, encode_cursor
from control_plane.kit.secret import Secret
from tests.support.sealing import files_of


def test_a_secret_prints_as_stars_everywhere():
    secret = Secret("hunter2")
    assert [str(secret), repr(secret), f"{secret}", f"{secret:>9}"] == ["***"] * 4
    assert str({"key": secret}) == "{'key': ***}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert secret.reveal() == "hunter2"
    assert secret.same_as("hunter2")
    assert not secret.same_as("hunter3")


def test_what_is_named_like_a_secret_is_not_logged():
    written = io.StringIO()
    log = structlog.wrap_logger(structlog.PrintLogger(written), [hide_secrets, structlog.processors.JSONRenderer()])
    log.info("signed in", access_token="abc", password="hunter2", key=Secret("k"), name="ada")
    logged = json.loads(written.getvalue())
    assert logged == {"access_token": "***", "password": "***", "key": "***", "name": "ada", "event": "signed in"}


def test_keys_are_made_once_and_are_the_owners_alone(tmp_path: Path):
    first = SigningKeys.open(tmp_path / "keys", files_of(tmp_path))
    again = SigningKeys.open(tmp_path / "keys", files_of(tmp_path))
    assert first.public_keys() == again.public_keys()
    files = list((tmp_path / "keys").iterdir())
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600]
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_key_that_others_can_read_is_refused(tmp_path: Path):
    SigningKeys.open(tmp_path, files_of(tmp_path))
    next(tmp_path.glob("*.pem")).chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        SigningKeys.open(tmp_path, files_of(tmp_path))


def test_a_new_key_signs_and_the_old_one_still_verifies(tmp_path: Path):
    old = SigningKeys.open(tmp_path, files_of(tmp_path)).sign(GRANT_CONTEXT, b"payload")
    new_key = add_key(tmp_path, files_of(tmp_path))
    keys = SigningKeys.open(tmp_path, files_of(tmp_path))
    assert keys.sign(GRANT_CONTEXT, b"payload").key_id == new_key
    assert keys.verify(GRANT_CONTEXT, b"payload", old)
    assert len(keys.public_keys()) == 2


def test_the_newest_key_signs_also_when_an_old_one_was_taken_out(tmp_path: Path):
    SigningKeys.open(tmp_path, files_of(tmp_path))
    for _ in range(6):  # by the order of their ids any one could be the last
        add_key(tmp_path, files_of(tmp_path))
        min(tmp_path.glob("*.pem")).unlink()
        newest = add_key(tmp_path, files_of(tmp_path))
        assert SigningKeys.open(tmp_path, files_of(tmp_path)).sign(GRANT_CONTEXT, b"payload").key_id == newest


def test_a_signature_is_good_for_one_context_only(tmp_path: Path):
    keys = SigningKeys.open(tmp_path, files_of(tmp_path))
    signed = keys.sign(GRANT_CONTEXT, b"payload")
    assert keys.verify(GRANT_CONTEXT, b"payload", signed)
    assert not keys.verify(SNAPSHOT_CONTEXT, b"payload", signed)
    public = Ed25519PublicKey.from_public_bytes(keys.public_keys()[0].raw)
    public.verify(signed.signature, GRANT_CONTEXT + b"payload")


def test_keys_print_nothing_private(tmp_path: Path):
    assert "PRIVATE" not in repr(SigningKeys.open(tmp_path, files_of(tmp_path)))


def test_ids_have_a_prefix_and_do_not_repeat():
    made = {new_id("idn") for _ in range(1000)}
    assert len(made) == 1000
    assert all(is_id(one, "idn") and not is_id(one, "grp") for one in made)


@pytest.mark.parametrize("name", ["ada", "a", "ci-bot.2", "ada@example.org"])
def test_names_that_may_be(name: str):
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "Ada", "-x", "a b", "a\n", "é", "a" * 64, "a/b"])
def test_names_that_may_not_be(name: str):
    assert not is_name(name)


def test_a_cursor_comes_back_as_it_was():
    assert decode_cursor(encode_cursor(("a", 7))) == ("a", 7)


@pytest.mark.parametrize("cursor", ["", "!", "bnVsbA", "e30", "WzEuNV0", "W10x", "é", "WzE4NDQ2NzQ0MDczNzA5NTUxNjE2XQ"])
def test_another_cursor_is_refused(cursor: str):
    with pytest.raises(InvalidError):
        decode_cursor(cursor)


def test_a_page_tells_whether_there_is_more():
    kept, cursor = Paging(limit=2).page(["a", "b", "c"], lambda one: (one,))
    assert kept == ["a", "b"]
    assert cursor is not None
    assert decode_cursor(cursor) == ("b",)
    assert Paging(limit=2).page(["a", "b"], lambda one: (one,)) == (["a", "b"], None)
