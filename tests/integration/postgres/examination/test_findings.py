"""What the doctor finds on accounts that are too wide, and that it finds nothing on one that it set up itself."""

from __future__ import annotations

from typing import Any

import pytest

from data_plane.policy.model import ColumnMask, MaskSpec
from data_plane.protocols.postgres.examination.findings import Finding
from tests.integration.postgres.examination.conftest import RULES, World, codes, rule


async def found(world: World, code: str, about: str = "", **words: Any) -> Finding:
    every = await world.findings(world.question(**words))
    return next(one for one in every if one.code == code and about in one.about)


async def test_a_superuser_is_critical_and_nothing_else_is_told_of_it(world: World) -> None:
    await world.make_account("LOGIN SUPERUSER")
    every = await world.findings(world.question(roles=None))
    assert [one.severity for one in every if one.about == world.account] == ["critical"]
    assert every[0].code == "superuser"
    assert {"no-session-roles", "public"} <= codes(every, "warning")


async def test_for_a_superuser_the_sql_makes_another_account(world: World) -> None:
    await world.make_account("LOGIN SUPERUSER")
    written = await world.script(world.question())
    assert f"CREATE ROLE assentry_{world.prefix}shop LOGIN CREATEROLE" in written
    await world.execute(written)
    assert await world.fetch("select rolcreaterole and not rolsuper and rolcanlogin from pg_roles where rolname = $1",
                             f"assentry_{world.prefix}shop") == [True]  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "code", "severity"),
    [
        ("REPLICATION", "replication", "critical"),
        ("BYPASSRLS", "bypassrls", "critical"),
        ("CREATEDB", "createdb", "warning"),
    ],
)
async def test_attributes_that_no_policy_needs(world: World, attributes: str, code: str, severity: str) -> None:
    await world.set_up(world.question())
    await world.execute(f"ALTER ROLE {world.account} {attributes}")
    one = await found(world, code)
    assert (one.severity, one.about) == (severity, world.account)
    await world.execute(*one.sql)
    assert code not in codes(await world.findings(world.question()))


async def test_predefined_roles_also_by_way_of_another(world: World) -> None:
    await world.set_up(world.question())
    await world.execute(
        f"GRANT pg_read_server_files TO {world.prefix}crew", f"GRANT {world.prefix}crew TO {world.account}",
        f"GRANT pg_monitor TO {world.roles.roles['read'][0]}",
    )  # fmt: skip
    every = await world.findings(world.question())
    told = {(one.severity, one.code, one.about) for one in every}
    assert ("critical", "predefined-role", world.account) in told
    assert ("warning", "other-role", world.account) in told
    assert ("warning", "predefined-role", world.roles.roles["read"][0]) in told


@pytest.mark.parametrize("name", ["gw_{}dba", "gw_abcdefghij_{}"])
async def test_a_powerful_role_that_is_called_like_one_of_a_session_is_told(world: World, name: str) -> None:
    await world.set_up(world.question())
    role = name.format("".join(letter for letter in world.prefix if letter in "abcdefghijklmnopqrstuvwxyz234567"))
    await world.execute(f"CREATE ROLE {role} SUPERUSER", f"GRANT {role} TO {world.account}")
    every = await world.findings(world.question())
    assert ("critical", "other-role", world.account) in {(one.severity, one.code, one.about) for one in every}
    assert f"REVOKE {role} FROM {world.account};" in await world.script(world.question())
    await world.execute(f"DROP ROLE {role}")


async def test_what_an_account_owns(world: World) -> None:
    await world.set_up(world.question())
    await world.execute(f"ALTER TABLE public.orders OWNER TO {world.account}")
    one = await found(world, "owns")
    assert one.things == ("SEQUENCE public.orders_id_seq", "TABLE public.orders")


async def test_tables_beyond_policy_and_masked_columns_are_told_apart(world: World) -> None:
    """Of one account that all sessions share."""
    await world.make_account("LOGIN")
    await world.execute(
        f"GRANT SELECT ON public.customers, hr.salaries TO {world.account}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON public.orders, public.settings TO {world.account}",
        f"GRANT CREATE ON SCHEMA hr TO {world.account}",
        f"GRANT EXECUTE ON FUNCTION public.peek() TO {world.account}",
    )
    every = {one.code: one for one in await world.findings(world.question(roles=None)) if one.about == world.account}
    assert every["masked-columns"].things == ("SELECT (email, card, domain) on TABLE public.customers",)
    assert every["reads-more"].things == ("SELECT on TABLE hr.salaries", "SELECT on TABLE public.settings")
    assert every["changes-more"].things == tuple(
        f"{what} on TABLE public.settings" for what in ("DELETE", "INSERT", "UPDATE")
    )
    assert every["makes-objects"].things == ("CREATE on SCHEMA hr",)
    assert every["dangerous-functions"].things == ("EXECUTE on ROUTINE public.peek()",)


async def test_the_sql_of_a_finding_takes_away_what_is_too_much_and_leaves_the_rest(world: World) -> None:
    await world.set_up(world.question())
    reader = world.roles.roles["read"][0]
    await world.execute(f"GRANT SELECT ON public.customers TO {reader}")
    one = await found(world, "masked-columns", reader)
    await world.execute(*one.sql)
    unmended = {"createrole-before-16"} if await world.version() < 16 else set()
    assert codes(await world.findings(world.question()), "critical", "warning") == unmended


async def test_a_role_for_reading_that_can_write_is_found(world: World) -> None:
    await world.set_up(world.question())
    await world.execute(f"GRANT DELETE ON public.orders TO {world.roles.roles['read'][0]}")
    assert (await found(world, "changes-more")).about == world.roles.roles["read"][0]


async def test_a_role_that_a_milder_action_shares_may_do_only_what_that_needs(world: World) -> None:
    await world.set_up(world.question())
    writer = world.roles.roles["write"][0]
    shared = type(world.roles)(roles={"read": (*world.roles.roles["read"], writer), "write": (writer,)})
    one = await found(world, "changes-more", roles=shared)
    assert one.about == writer


async def test_roles_that_are_missing_or_lack_something(world: World) -> None:
    await world.make_account()
    missing = await found(world, "role-missing", world.roles.roles["read"][0])
    assert len(missing.sql) == 1
    await world.execute(await world.script(world.question()))
    await world.execute(f"REVOKE SELECT ON public.orders FROM {world.roles.roles['read'][0]}")
    one = await found(world, "role-lacks")
    await world.execute(*one.sql)
    assert "role-lacks" not in codes(await world.findings(world.question()))


async def test_an_agent_that_cannot_make_accounts(world: World) -> None:
    await world.make_account("LOGIN")
    assert (await found(world, "no-createrole")).about == world.account
    if await world.version() >= 16:
        await world.execute(f"CREATE ROLE {world.roles.roles['read'][0]}")
        assert (await found(world, "no-admin-option")).about == world.account


async def test_what_everybody_may_do(world: World) -> None:
    await world.make_account()
    things = (await found(world, "public")).things
    for one in (
        "SELECT on TABLE hr.salaries", "INSERT on TABLE public.settings", "UPDATE (value) on TABLE public.settings",
        "CREATE on SCHEMA public", "EXECUTE on ROUTINE public.peek()", f"TEMPORARY on DATABASE {world.database}",
        "EXECUTE on ROUTINE pg_catalog.lo_create(oid)", "USAGE on SEQUENCE public.orders_id_seq",
    ):  # fmt: skip
        assert one in things


async def test_before_16_createrole_itself_is_told(world: World) -> None:
    await world.set_up(world.question())
    assert ("createrole-before-16" in codes(await world.findings(world.question()))) == (await world.version() < 16)


async def test_an_action_that_policy_reaches_needs_a_role(world: World) -> None:
    await world.set_up(world.question())
    every = await world.findings(world.question(*RULES, rule("calls", match={"action": "exec"}, effect="allow")))
    assert [one.says for one in every if one.code == "no-role-for-action"] == [
        "policy lets sessions exec, for which session_roles names no role: it will fail"
    ]


async def test_views_that_show_more_and_masks_for_some_are_remarks(world: World) -> None:
    await world.set_up(world.question())
    every = await world.findings(world.question())
    left = {one.about: one.says for one in every if one.code == "left-out"}
    assert left["TABLE public.everything"] == "it shows hr.salaries, which no rule lets anybody read"
    some = rule("more", match={"action": "read", "tables": ["public.customers"]}, effect="allow")
    unmasked = [one for one in RULES if one["name"] != "masked"]
    masked_for_one = [{**one, "mask": ["pii"]} if one["name"] == "reads" else one for one in unmasked]
    every = await world.findings(world.question(*masked_for_one, some))
    one = next(one for one in every if one.code == "masked-by-the-agent-only")
    assert "public.customers.email" in one.things


async def test_a_mask_that_names_what_is_not_there_protects_nothing_and_says_so(world: World) -> None:
    columns = ("public.customers.email", "public.custmers.card", "sales.events.*")
    masks = {"pii": MaskSpec(columns=tuple(map(ColumnMask, columns))), "other": MaskSpec(columns=(ColumnMask("no.x"),))}
    await world.set_up(world.question())
    one = await found(world, "mask-names-nothing", masks=masks)
    assert (one.severity, one.things) == ("warning", ("public.custmers.card",))
    assert "mask pii names what is not in this database" in one.says


async def test_other_databases_that_everybody_may_connect_to_are_a_remark(world: World) -> None:
    await world.set_up(world.question())
    one = await found(world, "other-databases")
    assert (one.severity, one.about) == ("remark", "PUBLIC")
    assert "CONNECT on DATABASE postgres" in one.things
    assert "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;" in one.sql
    assert any(
        line.startswith("GRANT CONNECT ON DATABASE postgres TO") and f"{world.prefix}web" in line for line in one.sql
    )
    every = await world.findings(world.question(one_database=False))
    assert "other-databases" not in codes(every)


async def test_the_account_of_previews_reads_what_sessions_may_touch_and_changes_nothing(world: World) -> None:
    looker = f"{world.prefix}looker"
    await world.set_up(world.question())
    await world.execute(f"CREATE ROLE {looker} LOGIN", f"GRANT SELECT ON public.customers, public.orders TO {looker}")
    clean = await world.findings(world.question(preview=looker))
    assert [one.code for one in clean if one.about == looker] == []
    await world.execute(
        f"GRANT UPDATE ON public.orders TO {looker}", f"GRANT SELECT ON hr.salaries TO {looker}",
        f"GRANT pg_read_all_data TO {looker}",
    )  # fmt: skip
    wide = await world.findings(world.question(preview=looker))
    assert {one.code for one in wide if one.about == looker} == {"predefined-role", "changes-more", "reads-more"}
    dry = await world.findings(world.question(preview=looker, dry_run=True))
    assert {one.code for one in dry if one.about == looker} == {"predefined-role", "reads-more"}
    await world.execute(f"ALTER ROLE {looker} SUPERUSER")
    assert (await found(world, "superuser", preview=looker)).about == looker
