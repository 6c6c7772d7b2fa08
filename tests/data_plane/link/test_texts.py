"""Texts that cannot be encoded, on their way to the control plane."""

from __future__ import annotations

import msgspec
from assentry.v1 import link_pb2 as pb

from data_plane.gate.interface import Action, Resource, Subject
from data_plane.link import messages, wire
from data_plane.link.texts import encodable
from tests.contract.stack import approval_request, session_facts


def test_a_request_with_half_a_character_reaches_reviewers_and_its_digest_stays() -> None:
    """Texts, names in facts and resources: wherever a client can put one."""
    half = "a\ud800b"
    request = approval_request(session_facts("ses_1"))
    resource = Resource("table", (half,), ("read",))
    subject = Subject(Action.WRITE, ("DELETE",), (resource,), {"tables": (half,), half: (half,)}, understood=True)
    operation = msgspec.structs.replace(request.operation, text=half, reason=half, subjects=(subject,))
    asked = messages.Requested(msgspec.structs.replace(request, operation=operation), 0)
    told = pb.Report.FromString(wire.report(1, 1, asked, "boot_1")).approval_requested
    assert told.operation.text == told.reason == told.operation.resources[0].name == "a\ufffdb"
    assert told.operation.facts_json == '[{"a\ufffdb":["a\ufffdb"]}]'
    assert told.operation.digest == operation.digest
    assert told.operation.raw == operation.parts[-1]


def test_what_can_be_encoded_stays_as_it_is() -> None:
    told = messages.SessionOpened(session_facts("ses_ü😀"), 1)
    assert encodable(told) == told
