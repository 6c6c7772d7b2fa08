"""Verifiers and passwords of session roles, against a SCRAM client of another maker."""

from __future__ import annotations

import base64
import re

import scramp

from data_plane.protocols.postgres.accounts.verifier import ITERATIONS, new_password, verifier
from data_plane.runtime.secret import Secret

FORM = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")


def test_a_verifier_is_what_scram_computes_of_the_password() -> None:
    password = Secret("correct horse")
    found = FORM.fullmatch(verifier(password))
    assert found is not None
    salt, stored, server = (base64.b64decode(found[part]) for part in (2, 3, 4))
    mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
    assert mechanism.make_auth_info("correct horse", ITERATIONS, salt) == (salt, stored, server, int(found[1]))


def test_each_verifier_has_a_salt_of_its_own_and_does_not_hold_the_password() -> None:
    password = new_password()
    first, second = verifier(password), verifier(password)
    assert first != second
    assert password.reveal() not in first


def test_passwords_have_256_bits_and_are_never_the_same() -> None:
    passwords = {new_password().reveal() for _ in range(100)}
    assert len(passwords) == 100
    assert all(len(base64.urlsafe_b64decode(password + "=")) == 32 for password in passwords)
