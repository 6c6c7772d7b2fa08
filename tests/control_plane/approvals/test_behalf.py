"""On whose behalf a machine asks stands on the card that is decided on, and none of them decides."""

from __future__ import annotations

import msgspec
import pytest

from control_plane.approvals import shown
from control_plane.approvals.domain import Agreed, Ineligible, Refused
from control_plane.approvals.ports import CredentialFacts
from control_plane.approvals.schemas import RequesterOut
from tests.control_plane.world import World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ADA = {"id": "idn_ada", "name": "ada", "kind": "person"}
AGENT = {"id": "idn_agent", "name": "agent", "kind": "machine"}
STRANGER = {"id": "", "name": "u-42\u202e (https://agents.example)", "kind": "unknown"}


async def test_a_chain_is_shown_with_the_request_and_bars_everybody_in_it(world: World) -> None:
    facts = CredentialFacts("token", valid=True, owner_ids=("idn_ada", "idn_agent"), chain=(ADA, AGENT))
    world.neighbours.credentials["crd_1"] = facts
    approval = await world.held()
    view = await world.view(approval)
    assert [one.name for one in view.shown.behalf] == ["ada", "agent"]
    assert RequesterOut.shown(view.shown).behalf == "ada (person) → agent (machine)"
    refused = await world.approve("ada", approval)
    assert isinstance(refused, Refused)
    assert Ineligible.OWNER in str(refused)
    assert isinstance(await world.approve("bob", approval), Agreed)


async def test_who_stands_behind_is_part_of_what_is_decided_on(world: World) -> None:
    view = await world.view(await world.held())
    other = shown.encode(msgspec.structs.replace(view.shown, behalf=(shown.Behind("idn_ada", "ada", "person"),)))
    assert shown.digest(other) != view.row.shown_digest
    assert shown.likeness(other) != shown.likeness(shown.encode(view.shown))


async def test_somebody_whom_only_an_issuer_knows_is_shown_without_what_screens_hide(world: World) -> None:
    world.neighbours.credentials["crd_1"] = CredentialFacts("token", valid=True, chain=(STRANGER,))
    view = await world.view(await world.held())
    assert "\u202e" not in RequesterOut.shown(view.shown).behalf
    assert "u-42" in RequesterOut.shown(view.shown).behalf


async def test_somebody_who_is_known_here_only_after_it_was_asked_on_their_behalf_does_not_decide(world: World) -> None:
    world.neighbours.credentials["crd_1"] = CredentialFacts("token", valid=True, chain=(STRANGER,))
    approval = await world.held()
    known = CredentialFacts("token", valid=True, owner_ids=("idn_ada",), chain=(STRANGER,))
    world.neighbours.credentials["crd_1"] = known
    refused = await world.approve("ada", approval)
    assert isinstance(refused, Refused)
    assert Ineligible.OWNER in str(refused)


async def test_a_card_that_was_made_before_chains_were_known_is_still_read(world: World) -> None:
    view = await world.view(await world.held())
    text = shown.encode(view.shown).replace('"behalf":[],', "").replace(',"behalf":[]', "")
    assert "behalf" not in text
    assert shown.decode(text).behalf == ()
