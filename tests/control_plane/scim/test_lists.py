"""Filters, pages and sorting; and filters as a way in."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from scim2_models import SearchRequest
from sqlalchemy.dialects import postgresql

from control_plane.kit.unit_of_work import NOBODY
from control_plane.scim.domain import Client
from control_plane.scim.resources import User
from control_plane.scim.searching import Listing
from control_plane.scim.tables import ScimUserRow
from tests.control_plane.conftest import ManualClock
from tests.control_plane.scim.conftest import Pusher

PEOPLE = {
    "ada": {"externalId": "E1", "title": "Countess", "emails": [{"value": "ada@example.org", "type": "work"}]},
    "Bob": {"externalId": "e2", "active": False, "name": {"familyName": "O'Neil"}},
    "lin": {"emails": [{"value": "lin@home.example", "type": "home"}, {"value": "lin@example.org", "type": "work"}]},
    "zoé": {"displayName": 'a "quoted" \\ name', "title": "100%_"},
}
FILTERS = [
    ('userName eq "ada"', "ada"),
    ('userName eq "ADA"', "ada"),
    ('userName ne "ada"', "Bob lin zoé"),
    ('userName sw "b"', "Bob"),
    ('userName co "i"', "lin"),
    ('userName ew "É"', "zoé"),
    ('username EQ "bob"', "Bob"),
    ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ada"', "ada"),
    ('externalId eq "E1"', "ada"),
    ('externalId eq "e1"', ""),
    ("title pr", "ada zoé"),
    ("not (title pr)", "Bob lin"),
    ("active eq false", "Bob"),
    ('emails co "example.org"', "ada lin"),
    ('emails.value eq "lin@home.example"', "lin"),
    ('emails[type eq "home" and value co "example.org"]', ""),
    ('emails[type eq "work" and value co "example.org"]', "ada lin"),
    ('userName eq "ada" or userName eq "bob"', "ada Bob"),
    ('userName eq "ada" and title eq "countess"', "ada"),
    ('(userName eq "ada" or userName eq "lin") and emails[type eq "home"]', "lin"),
    ('title pr and not (userName eq "ada")', "zoé"),
    ('meta.created ge "2026-01-01T00:00:00Z"', "ada Bob lin zoé"),
    ('meta.lastModified lt "2026-01-01T00:00:00Z"', ""),
    ('name.familyName eq "o\'neil"', "Bob"),
    ('displayName eq "a \\"quoted\\" \\\\ name"', "zoé"),
    ('title co "%"', "zoé"),
    ('title sw "100%_"', "zoé"),
    ('id eq "x\' OR 1=1 --"', ""),
    ('userName eq "x\\" or userName pr or \\""', ""),
    ('externalId eq "\'; DROP TABLE scim_users; --"', ""),
    ('userName eq "ada" and externalId eq "e2"', ""),
]
NO_FILTERS = [
    "userName",
    "userName eq",
    "userName eq ada",
    "userName is 5",
    'userName eq "ada" and',
    'userName eq "ada") or (userName pr',
    "active gt true",
    "emails gt",
    'password eq "x"',
    "phoneNumbers pr",
    'userName["x"]',
    "' OR 1=1 --",
    'userName eq "ada"; DROP TABLE scim_users',
    "not " * 40 + "(title pr)",
    "not (" * 40 + "title pr" + ")" * 40,
    "[" * 500,
]  # fmt: skip


@pytest.fixture
async def people(pusher: Pusher, clock: ManualClock) -> Pusher:
    for name, more in PEOPLE.items():
        clock.advance(seconds=1)
        await pusher.user(name, **more)
    clock.advance(seconds=1)
    return pusher


async def names(pusher: Pusher, **query: Any) -> list[str]:
    return [str(one["userName"]) for one in (await pusher.find("/Users", **query))["Resources"]]


async def test_a_filter_means_what_the_rfc_says(people: Pusher):
    found = {text: await names(people, filter=text) for text, _ in FILTERS}
    assert found == {text: expected.split() for text, expected in FILTERS}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_is_no_filter_is_refused_as_one(people: Pusher):
    for text in NO_FILTERS:
        answer = await people.http.get("/Users", params={"filter": text})
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidFilter"), text
    long = await people.http.get("/Users", params={"filter": "title pr and " * 200 + "title pr"})
    assert (long.status_code, long.json()["scimType"]) == (400, "invalidValue")
    assert (await people.find("/Users"))["totalResults"] == len(PEOPLE)


def test_what_a_filter_compares_reaches_the_database_as_a_value_only():
    listing: Listing[ScimUserRow, User] = Listing(
        ScimUserRow, {"externalid": "external_id"}, {"username": "user_name_key"}, ScimUserRow.active, None
    )
    request = SearchRequest[User](filter='userName eq "x\' OR 1=1 --" and externalId eq "\'; DROP TABLE x"')
    where = listing._where(Client("corp", "", NOBODY, ""), request.filter.ast)
    compiled = [one.compile(dialect=postgresql.dialect()) for one in where]
    assert not any("DROP" in str(one) or "OR 1=1" in str(one) for one in compiled)
    assert {value for one in compiled for value in one.params.values()} == {"corp", "x' or 1=1 --", "'; DROP TABLE x"}


def test_the_first_filter_of_a_process_is_understood():
    """The schemas refer to each other, and are whole only when both are there."""
    asked = """from control_plane.scim import payloads, resources
print(payloads.asked(resources.User, {"filter": 'userName eq "ada"'}).filter)"""
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert told.stdout.strip() == 'userName eq "ada"', told.stderr


async def test_pages_begin_at_one_and_stay_where_they_are(people: Pusher):
    everybody = await people.find("/Users")
    assert (everybody["totalResults"], everybody["startIndex"], everybody["itemsPerPage"]) == (4, 1, 4)
    assert await names(people, startIndex=2, count=2) == ["Bob", "lin"]
    assert await names(people, startIndex=0, count=1) == ["ada"]
    assert await names(people, startIndex=5) == []
    assert await names(people, filter="userName pr", startIndex=4, count=5) == ["zoé"]
    counted = await people.find("/Users", count=0)
    assert (counted["totalResults"], counted["itemsPerPage"], counted["Resources"]) == (4, 0, [])
    negative = await people.find("/Users", count=-1, startIndex=-5)
    assert (negative["startIndex"], negative["Resources"]) == (1, [])
    await people.user("new")
    assert await names(people, startIndex=2, count=2) == ["Bob", "lin"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_lists_are_sorted_as_asked(people: Pusher):
    assert await names(people, sortBy="userName", sortOrder="descending") == ["zoé", "lin", "Bob", "ada"]
    assert await names(people, sortBy="userName", startIndex=2, count=2) == ["Bob", "lin"]
    assert await names(people, sortBy="title", filter='userName ne "bob"') == ["zoé", "ada", "lin"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("query", "scim_type"),
    [
        ({"sortBy": "name"}, "invalidPath"),
        ({"sortBy": "nothing"}, "invalidPath"),
        ({"count": "many"}, "invalidValue"),
        ({"attributes": "userName", "excludedAttributes": "title"}, "invalidValue"),
        ({"attributes": 'emails[type eq "work"]'}, "invalidPath"),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_refused(pusher: Pusher, query: dict[str, str], scim_type: str):
    answer = await pusher.http.get("/Users", params=query)
    assert (answer.status_code, answer.json()["scimType"]) == (400, scim_type), answer.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_only_what_is_asked_for_is_told(people: Pusher):
    found = await people.find("/Users", attributes="emails.type,title", filter='userName eq "ada"')
    (ada,) = found["Resources"]
    assert set(ada) == {"schemas", "id", "emails", "title"}
    assert ada["emails"] == [{"type": "work"}]
    shown = await people.find(f"/Users/{ada['id']}", excludedAttributes="emails,meta")
    assert set(shown) == {"schemas", "id", "externalId", "userName", "title", "active"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_search_may_be_posted(people: Pusher):
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": 'emails.type eq "work"',
        "attributes": ["userName"],
        "count": 1,
    }
    found = (await people.http.post("/Users/.search", json=body)).json()
    assert (found["totalResults"], [one["userName"] for one in found["Resources"]]) == (2, ["ada"])
    both = await people.http.post("/.search", json=body)
    assert (both.status_code, both.json()["status"]) == (501, "501")


async def test_a_list_of_hundreds_comes_in_pages(pusher: Pusher, control_plane):
    from control_plane.identities.tables import IdentityRow

    async with control_plane.units() as uow:
        now = uow.now
        uow.session.add_all(
            IdentityRow(id=f"idn_{n}", name=f"p{n}", kind="person", created_at=now, updated_at=now) for n in range(450)
        )
        await uow.session.flush()
        uow.session.add_all(
            ScimUserRow(
                id=f"scu_{n:03}", client="corp", identity_id=f"idn_{n}", user_name_key=f"p{n}",
                resource={"userName": f"p{n}", "title": "even" if n % 2 == 0 else "odd"}, created_at=now, updated_at=now,
            )
            for n in range(450)
        )  # fmt: skip
    whole = await pusher.find("/Users", count=1000)
    assert (whole["totalResults"], whole["itemsPerPage"]) == (450, 200)
    seen = [name for start in (1, 201, 401) for name in await names(pusher, startIndex=start, count=200)]
    assert seen == [f"p{n}" for n in range(450)]
    odd = await pusher.find("/Users", filter='title eq "odd"', startIndex=201, count=200)
    assert (odd["totalResults"], odd["itemsPerPage"]) == (225, 25)
