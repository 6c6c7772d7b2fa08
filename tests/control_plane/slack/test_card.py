"""Cards: complete or without buttons, and data however it looks like markup. Everything goes past the double's limits."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.approvals.domain import Chain, Stage, Verb
from control_plane.approvals.reports import Parameter, Resource
from control_plane.approvals.repository import chain_text
from control_plane.approvals.review import View
from control_plane.slack import blocks
from control_plane.slack.card import APPROVE, DENY, Card, announcement, card
from tests.control_plane.world import World, operation_of
from tests.support.slack import strict
from tests.support.slack.workspace import texts

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
URL = "https://assentry.example/approvals/apr_1"
MARKUP = "<!here> <@U012AB3CD> <https://evil.example|the console> *bold* _it_ ~no~ `code` ``` :tada: &lt; > & @channel"


def shown(made: Card) -> str:
    return "\n".join(texts(list(made.blocks)))


def buttons(made: Card) -> dict[str, Any]:
    return {one["action_id"]: one for block in made.blocks if block["type"] == "actions" for one in block["elements"]}


def taken(made: Card) -> bool:
    return strict.problems(list(made.blocks)) == [] and not strict.too_long(list(made.blocks))


def boxes(made: Card) -> list[str]:
    """What stands in code blocks."""
    return [
        item["text"]
        for block in made.blocks
        for element in block.get("elements", [])
        if element.get("type") == "rich_text_preformatted"
        for item in element["elements"]
    ]


async def view_of(world: World, chain: Chain | None = None, **changes: Any) -> View:
    report = {name: changes.pop(name) for name in ("reason", "impact_json", "in_transaction") if name in changes}
    approval = await world.held(operation=operation_of(**changes), **report)
    async with world.units.reading() as uow:
        view = await world.review.present(uow, approval)
    assert view is not None
    if chain is not None:
        view.row.chain = chain_text(chain)
    return view


async def test_a_card_has_everything_that_the_decision_needs(world: World):
    parameters = (Parameter("$1", "int4", "1041", decoded=True, null=False), Parameter("$2", "text", "", True, True))
    view = await view_of(world, parameters=parameters, session_state=(("search_path", "public"),), reason="ticket 4711")
    made = card(view, URL)
    assert taken(made)
    text = shown(made)
    for told in (
        "Waits for a decision: write on orders (production)",
        "bot (machine, owned by owner)",
        "10.0.0.9:5000, which says it is psql",
        "orders, environment production",
        "production/writes",
        "1. 1 of group dba, 1 missing",
        "1 more of group dba",
        "it never runs without an approval",
        "DELETE FROM orders WHERE id = 1041",
        "$1 int4 = 1041",
        "$2 text = NULL",
        "touches relation public.orders (write)",
        "in a session with search_path = public",
        "cannot be undone",
        "The requester says (not verified):",
        "ticket 4711",
        view.row.short_code,
        "0 approved, 0 denied, 0 undecided",
    ):
        assert told in text, told
    assert {URL} == {item["url"] for block in made.blocks for part in block.get("elements", []) for item in part.get("elements", []) if item["type"] == "link"}  # fmt: skip
    found = buttons(made)
    assert set(found) == {APPROVE, DENY}
    assert found[APPROVE]["value"] == found[DENY]["value"] == f"{view.row.id}:{view.row.shown_digest.hex()}"


async def test_the_impact_preview_stands_in_the_card_with_what_each_figure_is(world: World):
    impact = {"estimate": {"rows": 5000}, "count": {"rows": 50_000}, "notes": ["a trigger\nfires"]}
    text = shown(card(await view_of(world, impact_json=msgspec.json.encode(impact).decode()), URL))
    assert "5,000 rows (the planner's estimate" in text
    assert "50,000 rows (counted by" in text
    assert "a trigger⟨U+000A⟩fires" in text


async def test_markup_is_data_wherever_it_stands(world: World):
    view = await view_of(
        world,
        text=f"SELECT '{MARKUP}'",
        parameters=(Parameter("$1", "text", MARKUP, decoded=True, null=False),),
        resources=(Resource("relation", MARKUP, ("write",)),),
        reason=MARKUP,
    )
    made = card(view, URL)
    assert taken(made)
    assert boxes(made)[0] == f"SELECT '{MARKUP}'"
    # Nothing but elements that Slack reads as data holds the text, and the notification has it not at all.
    assert {block["type"] for block in made.blocks} <= {"header", "rich_text", "actions"}
    assert "here" not in made.text
    assert made.live


async def test_the_text_of_notifications_is_escaped(world: World):
    view = await view_of(world)
    view.row.target = "x"
    target = msgspec.structs.replace(view.shown.target, name="<!here>&`@channel`")
    view = msgspec.structs.replace(view, shown=msgspec.structs.replace(view.shown, target=target))
    for made in (card(view, URL), announcement(view, URL)):
        assert "&lt;!here&gt;&amp;'@channel'" in made.text
        assert "<" not in made.text


async def test_what_cannot_be_seen_is_written_out_and_counted(world: World):
    made = card(await view_of(world, text="DELETE FROM orders -- \u202e1 = di \u200b\ue000"), URL)
    assert "⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩1 = di ⟨U+200B ZERO WIDTH SPACE⟩⟨U+E000⟩" in boxes(made)[0]
    assert "3 characters that a screen would hide are written out" in shown(made)
    assert made.live


async def test_a_text_of_just_the_limit_has_buttons_and_one_more_character_has_none(world: World):
    fits = card(await view_of(world, text="x" * blocks.MOST_OF_A_TEXT), URL)
    assert (fits.live, fits.hidden_bytes, taken(fits)) == (True, 0, True)
    too_long = card(await view_of(world, text="x" * (blocks.MOST_OF_A_TEXT - 1) + "yé"), URL)
    assert (too_long.live, too_long.hidden_bytes, taken(too_long)) == (False, 2, True)
    assert buttons(too_long) == {}
    assert "2 bytes of it do not fit here and are hidden. Read it in full and decide in the console." in shown(too_long)
    assert "Complete: (2 bytes hidden)" in shown(too_long)


async def test_characters_that_count_twice_for_slack_are_counted_twice(world: World):
    made = card(await view_of(world, text="😀" * 1501), URL)
    assert taken(made)
    assert not made.live
    assert made.hidden_bytes == 4


async def test_many_parts_that_are_too_long_together_are_hidden_in_part_and_have_no_buttons(world: World):
    parameters = tuple(Parameter(f"${n}", "text", "p" * 100, decoded=True, null=False) for n in range(25))
    state = tuple((f"setting_{n}", "v" * 90) for n in range(25))
    view = await view_of(world, text="t" * 2900, parameters=parameters, session_state=state, reason="r" * 2000)
    impact = {"notes": ["n" * 100] * 25}
    view = await view_of(world, text="t" * 2900, parameters=parameters, session_state=state,
                         impact_json=msgspec.json.encode(impact).decode(), reason="r" * 2000)  # fmt: skip
    made = card(view, URL)
    assert taken(made)
    assert not made.live
    assert made.hidden_bytes > 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"channels": ("console", "cli")}, "takes decisions by console, cli only, not by Slack"),
        ({"reauthenticate_seconds": 300}, "wants a sign-in that is not older than 5m"),
        ({"channels": ("console", "slack"), "reauthenticate_seconds": 60}, "not older than 1m"),
    ],
)
async def test_a_chain_that_wants_its_decisions_elsewhere_has_no_buttons(
    world: World, options: dict[str, Any], why: str
):
    chain = Chain("dba", (Stage(("dba",), 1, 900),), 300, **options)
    made = card(await view_of(world, chain), URL)
    assert not made.live
    assert why in shown(made)
    assert taken(made)


async def test_a_chain_that_names_slack_has_buttons(world: World):
    chain = Chain("dba", (Stage(("dba",), 1, 900),), 300, channels=("slack",))
    assert card(await view_of(world, chain), URL).live


async def test_every_state_is_told_and_none_but_pending_has_buttons(world: World):
    view = await view_of(world)
    titles = set()
    for state in (
        "pending", "approved", "denied", "expired", "cancelled", "voided", "lapsed", "executing", "executed", "failed",
        "outcome-unknown",
    ):  # fmt: skip
        view.row.state, view.row.reason, view.row.result = state, "because", "DELETE 1"
        made = card(view, URL)
        assert taken(made)
        assert made.live == (state == "pending")
        titles.add(made.blocks[0]["text"]["text"])
        assert "DELETE 1" in shown(made)
    assert len(titles) == 11


async def test_decisions_are_listed_with_their_reasons(world: World):
    view = await view_of(world)
    await world.say("ada", Verb.DENY, view.row.id, reason=f"{MARKUP}\nApproved by everybody")
    async with world.units.reading() as uow:
        decided = await world.review.present(uow, view.row.id)
    assert decided is not None
    made = card(decided, URL)
    assert taken(made)
    assert "⟨U+000A⟩Approved by everybody" in shown(made)
    assert "\nApproved by everybody" not in shown(made)


async def test_the_announcement_has_no_buttons(world: World):
    made = announcement(await view_of(world), URL)
    assert taken(made)
    assert not made.live
    assert buttons(made) == {}


async def test_whatever_is_asked_slack_takes_it_and_it_is_complete_or_has_no_buttons(world: World):
    view = await view_of(world)
    text = st.text(max_size=4000) | st.text(alphabet="`<>&\n\u202e😀", max_size=4000)

    @given(asked=text, value=text, said=text)
    @settings(max_examples=60, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    def holds(asked: str, value: str, said: str) -> None:
        operation = msgspec.structs.replace(
            view.shown.operation, text=asked, parameters=(Parameter("$1", "text", value, decoded=True, null=False),)
        )
        changed = msgspec.structs.replace(view.shown, operation=operation, reason=said)
        made = card(msgspec.structs.replace(view, shown=changed), URL)
        assert taken(made), strict.problems(list(made.blocks))
        assert made.live == (made.hidden_bytes == 0)

    holds()
