"""Signed decisions in an audit log are checked offline: whoever has the log alone sees what was not signed like that."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from control_plane.audit.chain import Entry
from control_plane.audit.signatures import Signatures
from control_plane.security_keys.signed import Signed, encoded, problem
from control_plane.security_keys.statement import (
    Decision,
    Purpose,
    Request,
    Statement,
    Window,
    challenge_of,
    decode,
    encode,
)
from tests.support.authenticator import EDDSA, ES256, PRESENT, RS256, SoftwareKey, flipped

RP, ORIGIN = "assentry.example.org", "https://assentry.example.org"
REQUEST = Request("apr_1", "aa" * 32, "bb" * 32)
DECISION = Decision("approve", (Request("apr_0", "cc" * 32, "dd" * 32), REQUEST))
ADA = {"id": "idn_ada", "name": "ada", "kind": "person"}
DATA = {"shown_digest": REQUEST.shown, "operation_digest": REQUEST.operation}


def statement(**changes: Any) -> Statement:
    made = Statement(Purpose.DECIDE, "test", "idn_ada", "ada", "sin_1", 1, "n" * 52, DECISION)
    return msgspec.structs.replace(made, **changes)


def signed(key: SoftwareKey, said: Statement, **changes: Any) -> Signed:
    text = encode(said)
    made = key.sign({"challenge": encoded(challenge_of(text)), "rpId": RP})["response"]
    der = key.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whole = Signed(
        "sky_1", encoded(der), RP, ORIGIN, text, made["clientDataJSON"], made["authenticatorData"], made["signature"]
    )
    return msgspec.structs.replace(whole, **changes)


def agreed(given: Signed, kind: str = "approval.agreed", subject: str = "apr_1", **data: Any) -> Entry:
    told = {**DATA, "signature": msgspec.to_builtins(given), **data}
    return Entry(3, 1, kind, ADA, subject, told)


def looked_at(*entries: Entry, deployment: str = "test", from_the_beginning: bool = True) -> list[str]:
    found = Signatures()
    return [found.look(one, deployment, from_the_beginning=from_the_beginning) for one in entries]


def registered(given: Signed, identity_id: str = "idn_ada") -> Entry:
    told = {"identity_id": identity_id, "public_key": given.public_key}
    return Entry(1, 1, "security-key.registered", ADA, "sky_1", told)


REMOVED = Entry(2, 1, "security-key.removed", ADA, "sky_1", {})


@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256], ids=["ES256", "EdDSA", "RS256"])
def test_a_signed_decision_is_found_good_and_counted(algorithm: int) -> None:
    given = signed(SoftwareKey(ORIGIN, algorithm), statement())
    found = Signatures()
    for entry in (registered(given), agreed(given)):
        assert found.look(entry, "test", from_the_beginning=True) == ""
    assert found.good == 1


def test_a_window_and_broken_glass_are_signed_as_what_they_are() -> None:
    key = SoftwareKey(ORIGIN)
    window = signed(key, statement(decision=msgspec.structs.replace(DECISION, window=Window(3, 10))))
    glass = signed(key, statement(decision=msgspec.structs.replace(DECISION, verb="break-glass")))
    good = (registered(window), agreed(window, window_uses=3), agreed(glass, "approval.glass-broken"))
    assert looked_at(*good) == ["", "", ""]
    assert "another decision" in looked_at(registered(window), agreed(window))[1]
    assert "another decision" in looked_at(registered(window), agreed(window, window_uses=5))[1]
    assert "another decision" in looked_at(registered(glass), agreed(glass))[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shown_digest": "ff" * 32}, "something else was shown"),
        ({"operation_digest": "ff" * 32}, "something else was shown"),
        ({"subject": "apr_2"}, "another request"),
    ],
)
def test_a_decision_on_something_else_than_was_signed_is_found(changes: dict[str, Any], said: str) -> None:
    given = signed(SoftwareKey(ORIGIN), statement())
    assert said in looked_at(registered(given), agreed(given, **changes))[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"deployment": "other"}, "another deployment"),
        ({"person_id": "idn_bob"}, "somebody else"),
        ({"decision": None}, "another decision"),
        ({"purpose": Purpose.AUTHENTICATE, "decision": None}, "another decision"),
    ],
)
def test_a_statement_about_something_else_is_found(changes: dict[str, Any], said: str) -> None:
    given = signed(SoftwareKey(ORIGIN), statement(**changes))
    assert said in looked_at(registered(given), agreed(given))[1]


def test_whose_key_it_was_stands_in_the_log() -> None:
    given, other = signed(SoftwareKey(ORIGIN), statement()), signed(SoftwareKey(ORIGIN), statement())
    assert "never registered" in looked_at(agreed(given))[0]
    assert "somebody else's" in looked_at(registered(given, "idn_bob"), agreed(given))[1]
    assert "another key" in looked_at(registered(other), agreed(given))[1]
    assert "had been removed" in looked_at(registered(given), REMOVED, agreed(given))[2]
    assert looked_at(agreed(given), from_the_beginning=False) == [""], "it may have been registered before"


FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "another statement": ({"statement": encode(statement(at_ms=2))}, "another statement was signed"),
    "no statement": ({"statement": "{}"}, "not a statement"),
    "a statement with a space more": ({"statement": encode(statement()) + " "}, "not a statement"),
    "another origin": ({"origin": "https://evil.test"}, "another origin"),
    "another site": ({"rp_id": "evil.test"}, "another site"),
    "no signature": ({"signature": ""}, "not the key's"),
    "no base64url": ({"signature": "%"}, "cannot be read"),
    "no client data": ({"client_data": ""}, "cannot be read"),
    "a list": ({"client_data": "W10"}, "no object"),
    "short data": ({"authenticator_data": "AAAA"}, "too short"),
    "no key": ({"public_key": "AAAA"}, "cannot be read"),
}


@pytest.mark.parametrize(("changes", "said"), FORGED.values(), ids=FORGED)
def test_what_is_not_what_the_key_signed_is_found(changes: dict[str, str], said: str) -> None:
    assert said in problem(signed(SoftwareKey(ORIGIN), statement(), **changes))


@pytest.mark.parametrize("field", ["signature", "authenticator_data", "public_key"])
def test_one_bit_changed_is_found(field: str) -> None:
    given = signed(SoftwareKey(ORIGIN), statement())
    changed = msgspec.structs.replace(given, **{field: flipped(getattr(given, field), -1)})
    assert problem(given) == ""
    assert problem(changed) != ""


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (SoftwareKey(ORIGIN, flags=PRESENT), "did not verify"),
        (SoftwareKey(ORIGIN, flags=0), "nobody touched"),
        (SoftwareKey(ORIGIN, client={"type": "webauthn.create"}), "something else than signing"),
        (SoftwareKey(ORIGIN, client={"crossOrigin": True}), "another site's page"),
    ],
)
def test_what_the_key_says_of_its_holder_and_page_counts(key: SoftwareKey, said: str) -> None:
    assert said in problem(signed(key, statement()))


def test_a_signature_that_is_no_object_is_found() -> None:
    given = signed(SoftwareKey(ORIGIN), statement())
    entry = agreed(given)
    assert "cannot be read" in looked_at(msgspec.structs.replace(entry, data={**DATA, "signature": "x"}))[0]


def test_a_statement_is_read_as_it_was_written() -> None:
    assert decode(encode(statement())) == statement()
