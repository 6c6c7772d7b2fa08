"""What no provider should send: refused in SCIM's shape, told in the audit log, and nothing has changed."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.control_plane.scim.conftest import USER, Pusher, audited

BODIES = {
    "nothing": (b"", "invalidSyntax"),
    "no JSON": (b"{", "invalidSyntax"),
    "no UTF-8": b'{"userName": "\xff"}',
    "half a character": b'{"userName": "\\ud800"}',
    "a list": b"[]",
    "a word": b'"x"',
    "deep": b'{"a":' * 50 + b"1" + b"}" * 50,
    "very deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NUL": (b'{"schemas":["S"],"userName":"a\\u0000b"}', "invalidValue"),
    "an escape": (b'{"schemas":["S"],"userName":"\\u001b[2J"}', "invalidValue"),
    "no name": (b'{"schemas":["S"]}', "invalidValue"),
    "a blank name": (b'{"schemas":["S"],"userName":"  "}', "invalidValue"),
    "a number": (b'{"schemas":["S"],"userName":5}', "invalidValue"),
    "a long name": (b'{"schemas":["S"],"userName":"%s"}' % (b"a" * 256), "invalidValue"),
    "a long external id": (b'{"schemas":["S"],"userName":"a","externalId":"%s"}' % (b"a" * 256), "invalidValue"),
    "long text": (b'{"schemas":["S"],"userName":"a","title":"%s"}' % (b"a" * 3000), "invalidValue"),
    "many mail addresses": (
        b'{"schemas":["S"],"userName":"a","emails":[%s]}' % b",".join([b'{"value":"a@b"}'] * 21), "invalidValue"
    ),
    "no truth": (b'{"schemas":["S"],"userName":"a","active":"perhaps"}', "invalidValue"),
}  # fmt: skip
PATCHES = {
    "an unknown verb": ([{"op": "move", "path": "title", "value": "x"}], "invalidValue"),
    "no path to remove": ([{"op": "remove"}], "noTarget"),
    "an unknown filter": ([{"op": "replace", "path": 'emails[what eq "x"].value', "value": "x"}], "invalidFilter"),
    "a broken path": ([{"op": "replace", "path": "emails[", "value": "x"}], "invalidPath"),
    "what only we say": ([{"op": "replace", "path": "id", "value": "scu_x"}], "mutability"),
    "its groups": ([{"op": "add", "path": "groups", "value": [{"value": "scg_x"}]}], "mutability"),
    "no name left": ([{"op": "remove", "path": "userName"}], "mutability"),
    "no person": ([{"op": "replace", "path": "userName", "value": {"a": 1}}], "invalidValue"),
    "too many": ([{"op": "replace", "path": "title", "value": "x"}] * 1001, "invalidValue"),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_is_no_person_is_refused_and_told(pusher: Pusher, admin: httpx.AsyncClient):
    for what, sent in BODIES.items():
        body, scim_type = sent if isinstance(sent, tuple) else (sent, "invalidSyntax")
        answer = await pusher.http.post("/Users", content=body.replace(b'"S"', f'"{USER}"'.encode()))
        told = (answer.status_code, answer.headers["content-type"], answer.json().get("scimType"))
        assert told == (400, "application/scim+json", scim_type), (what, answer.text)
    assert (await pusher.find("/Users"))["totalResults"] == 0
    refused = await audited(admin, "push.refused")
    assert len(refused) == len(BODIES)
    assert {(one["actor"]["name"], one["subject"]) for one in refused} == {("scim:corp", "corp")}
    assert all(one["data"]["cause"] for one in refused)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_is_no_change_is_refused_and_changes_nothing(pusher: Pusher):
    made = await pusher.user("ada", title="Countess", emails=[{"value": "a@b", "type": "work"}])
    for what, (operations, scim_type) in PATCHES.items():
        answer = await pusher.patch(
            f"/Users/{made['id']}", {"op": "replace", "path": "title", "value": "y"}, *operations
        )
        assert (answer.status_code, answer.json().get("scimType")) == (400, scim_type), (what, answer.text)
        assert await pusher.find(f"/Users/{made['id']}") == made, what
    nothing = await pusher.patch(f"/Users/{made['id']}")
    assert (nothing.status_code, nothing.json()["scimType"]) == (400, "invalidValue")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_body_beyond_the_limit_is_refused_in_scims_shape_or_before(pusher: Pusher):
    answer = await pusher.http.post("/Users", content=json.dumps({"userName": "a" * 5_000_000}))
    assert answer.status_code == 413


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_is_not_here_is_told_in_scims_shape(pusher: Pusher):
    for method, path, status in (
        ("GET", "/Nothing", 404),
        ("GET", "/Users/scu_x", 404),
        ("GET", "/Users/a/b", 404),
        ("PATCH", "/Users", 405),
        ("POST", "/Users/scu_x", 405),
        ("POST", "/ServiceProviderConfig", 405),
        ("GET", "/Me", 501),
        ("POST", "/Bulk", 501),
        ("GET", "/Schemas?filter=x", 403),
    ):
        answer = await pusher.http.request(method, path, content=b"{}")
        body = answer.json()
        assert (answer.status_code, body["status"]) == (status, str(status)), path
        assert body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]


async def test_two_who_push_the_same_at_once_make_it_once(pusher: Pusher):
    import asyncio

    body = {"schemas": [USER], "userName": "ada", "externalId": "e1"}
    answers = await asyncio.gather(*(pusher.http.post("/Users", json=body) for _ in range(4)))
    assert sorted(one.status_code for one in answers) == [201, 409, 409, 409]
    assert {one.json().get("scimType") for one in answers} == {None, "uniqueness"}
    assert (await pusher.find("/Users"))["totalResults"] == 1
