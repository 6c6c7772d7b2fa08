"""The SQL that sets a target up, applied to a database as they are found, and what roles can then do, asked of PostgreSQL."""

from __future__ import annotations

import asyncpg
import pytest

from tests.integration.postgres.examination.conftest import RULES, World, codes, rule

READABLE = (
    "SELECT id, name FROM public.customers",
    "SELECT count(*) FROM public.customers",
    "SELECT * FROM public.orders",
    "SELECT * FROM public.customer_names",
    "SELECT id FROM public.customer_contacts",
    "SELECT * FROM public.order_totals",
    "SELECT * FROM public.order_summary",
    "SELECT * FROM sales.leads",
    "SELECT id, day FROM sales.events",
    "SELECT id, day FROM sales.events_2026",
    'SELECT * FROM "Odd Schema"."Odd ""One"" Table"',
    "SELECT last_value FROM public.orders_id_seq",
    "SELECT public.twice(2)",
)
CLOSED_TO_READERS = (
    "SELECT * FROM public.customers",
    "SELECT customers FROM public.customers",
    "SELECT email FROM public.customers",
    "SELECT card FROM public.customers",
    "SELECT domain FROM public.customers",
    "SELECT 1 FROM public.customers WHERE email LIKE 'a%'",
    "SELECT contact FROM public.customer_contacts",
    "SELECT email FROM sales.events",
    "SELECT email FROM sales.events_2026",
    "COPY public.customers TO STDOUT",
    "SELECT * FROM public.settings",
    "SELECT * FROM hr.salaries",
    "SELECT * FROM public.everything",
    "SELECT * FROM public.peek()",
    "SELECT hr.raise_all()",
    "SELECT rolpassword FROM pg_authid",
    "INSERT INTO public.orders (total) VALUES (1)",
    "UPDATE public.orders SET total = 0",
    "DELETE FROM public.orders",
    "TRUNCATE public.orders",
    "SELECT * FROM public.orders FOR UPDATE",
    "INSERT INTO public.settings VALUES ('a', 'b')",
    "UPDATE public.settings SET value = ''",
    "SELECT nextval('public.orders_id_seq')",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT pg_read_file('PG_VERSION')",
    "CREATE TABLE public.mine (a int)",
    "CREATE TEMP TABLE mine (a int)",
    "CREATE TABLE sales.mine (a int)",
    "CREATE SCHEMA mine",
    "DROP TABLE public.orders",
    "ALTER TABLE public.orders ADD COLUMN a int",
    "CREATE ROLE mine",
)
WRITABLE = (
    "INSERT INTO public.orders (total) VALUES (1)",
    "UPDATE public.orders SET total = 0 WHERE id = 1",
    "DELETE FROM public.orders WHERE id = 1",
    "INSERT INTO sales.leads (phone) VALUES ('1')",
    "INSERT INTO sales.events VALUES (9, '2026-01-02', 'x@example.com')",
    "UPDATE sales.events SET email = NULL WHERE id = 1",
)
CLOSED_TO_WRITERS = (
    "TRUNCATE public.orders",
    "INSERT INTO public.customers (id) VALUES (9)",
    "UPDATE public.customers SET name = ''",
    "UPDATE sales.events SET email = NULL RETURNING email",
    "DELETE FROM sales.events WHERE email = 'eve@example.com'",
    "DELETE FROM sales.events_2026 WHERE id = 1",
    "UPDATE public.order_totals SET total = 0",
    "REFRESH MATERIALIZED VIEW public.order_summary",
    "UPDATE hr.salaries SET amount = 0",
    "CREATE TABLE public.mine (a int)",
    "CREATE TABLE sales.mine (a int)",
    "CREATE INDEX ON public.orders (total)",
    "ALTER TABLE public.orders ADD COLUMN a int",
    "DROP TABLE public.orders",
    "DROP TABLE sales.leads",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TRIGGER t BEFORE UPDATE ON public.orders FOR EACH ROW EXECUTE FUNCTION public.audit()",
    "SELECT setval('public.orders_id_seq', 1)",
)


async def test_a_reading_session_reads_what_policy_says_and_nothing_else(world: World) -> None:
    await world.set_up(world.question())
    async with world.session(world.roles.roles["read"][0]) as reader:
        assert [one for one in READABLE if not await world.allowed(reader, one)] == []
        assert [one for one in CLOSED_TO_READERS if await world.allowed(reader, one)] == []


async def test_a_writing_session_changes_what_policy_says_and_makes_nothing(world: World) -> None:
    await world.set_up(world.question())
    async with world.session(world.roles.roles["read"][0], world.roles.roles["write"][0]) as writer:
        assert [one for one in (*READABLE, *WRITABLE) if not await world.allowed(writer, one)] == []
        assert [one for one in CLOSED_TO_WRITERS if await world.allowed(writer, one)] == []


async def test_every_right_of_the_roles_is_one_that_policy_gives(world: World) -> None:
    """Asked of the server for every table and column, not of the statements that somebody thought of."""
    await world.set_up(world.question())
    readable = await world.fetch(
        """select c.oid::regclass || '.' || a.attname from pg_class c join pg_namespace n on n.oid = c.relnamespace
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p', 'v', 'm')
             and has_column_privilege($1, c.oid, a.attnum, 'SELECT') and has_schema_privilege($1, n.oid, 'USAGE')""",
        world.roles.roles["read"][0],
    )
    assert sorted(readable) == [
        '"Odd Schema"."Odd ""One"" Table".Odd Column', '"Odd Schema"."Odd ""One"" Table".grant',
        '"Odd Schema"."Odd ""One"" Table".select_', "customer_contacts.id", "customer_names.id", "customer_names.name",
        "customers.id", "customers.name", "order_summary.customer_id", "order_summary.sum", "order_totals.id",
        "order_totals.total", "orders.customer_id", "orders.id", "orders.total", "sales.events.day", "sales.events.id",
        "sales.events_2026.day", "sales.events_2026.id", "sales.events_rest.day", "sales.events_rest.id",
        "sales.leads.day", "sales.leads.id", "sales.leads.phone",
    ]  # fmt: skip
    changeable = await world.fetch(
        """select c.oid::regclass || ' ' || p from pg_class c join pg_namespace n on n.oid = c.relnamespace,
           unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
           where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p', 'v', 'm')
             and (has_table_privilege($1, c.oid, p) or p in ('INSERT', 'UPDATE') and
                  has_any_column_privilege($1, c.oid, p))""",
        world.roles.roles["write"][0],
    )
    assert sorted(changeable) == [
        f"{table} {change}" for table in ("orders", "sales.events", "sales.leads") for change in ("DELETE", "INSERT", "UPDATE")
    ]  # fmt: skip


async def test_nobody_else_loses_or_gains_anything(world: World) -> None:
    asked = """select r.rolname, c.oid::regclass::text, p, has_table_privilege(r.oid, c.oid, p)
      from pg_roles r, pg_class c join pg_namespace n on n.oid = c.relnamespace,
           unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
      where n.nspname in ('public', 'sales', 'hr', 'Odd Schema') and c.relkind in ('r', 'p', 'v', 'm')
        and r.rolname = any($1) order by 1, 2, 3"""
    others = [f"{world.prefix}{name}" for name in ("crew", "web", "report", 'Odd "One" Role')]
    before = await world.fetch_rows(asked, others)
    await world.set_up(world.question())
    assert await world.fetch_rows(asked, others) == before
    report = await world.fetch(
        "select has_function_privilege($1, 'public.peek()', 'EXECUTE') and has_schema_privilege($1, 'public', 'CREATE')",
        others[2],
    )
    assert report == [True]


async def test_the_agents_own_account_can_do_nothing_but_make_accounts(world: World) -> None:
    await world.set_up(world.question())
    admin = await world.connect(world.account, world.password)
    try:
        tried = [one for one in (*READABLE, *CLOSED_TO_READERS, *WRITABLE) if "ROLE" not in one and "twice" not in one]
        assert [one for one in tried if await world.allowed(admin, one)] == []
        for role in ("read", "write", "owner"):
            await world.refused(admin, f"SET ROLE {world.prefix}{role}", newest_only=True)
        others = f"{world.prefix}web"
        for statement in (
            f"ALTER ROLE {others} PASSWORD 'x'", f"DROP ROLE {others}", f"GRANT {others} TO {world.account}",
            f"GRANT pg_read_server_files TO {world.account}", f"ALTER ROLE {world.account} CREATEDB",
        ):  # fmt: skip
            await world.refused(admin, statement, newest_only=True)
        assert not await world.allowed(admin, "ALTER ROLE postgres PASSWORD 'x'")
        assert not await world.allowed(admin, "CREATE ROLE boss SUPERUSER")
    finally:
        await admin.close()
    async with world.session(world.roles.roles["read"][0]) as reader:
        assert await world.allowed(reader, "SELECT * FROM public.orders")


async def test_what_a_schema_change_makes_belongs_to_the_owner_and_can_be_read(world: World) -> None:
    rules = [one for one in RULES if one["name"] != "masked"]
    await world.set_up(world.question(*rules))
    owner = world.roles.roles["ddl"][0]
    async with world.session(owner, *world.roles.roles["read"]) as changer:
        await changer.execute(f"SET ROLE {owner}")
        await changer.execute("CREATE TABLE sales.fresh (a int)")
        assert not await world.allowed(changer, "CREATE TABLE public.fresh (a int)")
    async with world.session(world.roles.roles["read"][0]) as reader:
        assert await world.allowed(reader, "SELECT * FROM sales.fresh")
        assert not await world.allowed(reader, "DROP TABLE sales.fresh")


async def test_where_a_schema_has_masked_columns_new_tables_stay_closed(world: World) -> None:
    await world.set_up(world.question())
    world_changes = "CREATE VIEW public.leak AS SELECT email FROM public.customers"
    await world.execute(world_changes)
    async with world.session(world.roles.roles["read"][0]) as reader:
        assert not await world.allowed(reader, "SELECT * FROM public.leak")


async def test_the_same_again_changes_nothing_and_finds_nothing(world: World) -> None:
    await world.set_up(world.question())
    first = await world.script(world.question())
    rights = await world.acls()
    await world.execute(first)
    assert await world.acls() == rights
    assert await world.script(world.question()) == first
    unmended = {"createrole-before-16"} if await world.version() < 16 else set()
    assert codes(await world.findings(world.question()), "critical", "warning") == unmended


async def test_what_policy_no_longer_says_is_taken_away(world: World) -> None:
    await world.set_up(world.question())
    less = world.question(rule("reads", match={"action": "read", "tables": ["public.orders"]}, effect="allow"))
    assert "reads-more" in codes(await world.findings(less))
    await world.execute(await world.script(less))
    async with world.session(*(name for names in world.roles.roles.values() for name in names)) as session:
        assert await world.allowed(session, "SELECT * FROM public.orders")
        for closed in ("SELECT * FROM sales.leads", "DELETE FROM public.orders", "SELECT name FROM public.customers"):
            assert not await world.allowed(session, closed)


async def test_masks_may_be_left_to_the_agent(world: World) -> None:
    question = world.question(close_masked=False)
    await world.set_up(question)
    async with world.session(world.roles.roles["read"][0]) as reader:
        assert await world.allowed(reader, "SELECT * FROM public.customers")
        assert await world.allowed(reader, "SELECT * FROM public.customer_contacts")
        assert not await world.allowed(reader, "SELECT * FROM public.settings")
    assert "masked-by-the-agent-only" in codes(await world.findings(question), "remark")


async def test_a_role_that_asks_to_be_quoted_in_a_trap_is_only_a_name(world: World) -> None:
    """Names come from a database and a document that others write."""
    await world.execute(
        f'CREATE ROLE "{world.prefix}$make$; DROP TABLE public.orders; --" LOGIN',
        'CREATE TABLE public."x; DROP TABLE orders" (a int)',
        'CREATE TABLE public."two\nDROP TABLE orders; lines" (a int)',
        'CREATE VIEW public."w\nDROP TABLE orders;" AS SELECT * FROM hr.salaries',
        f'CREATE ROLE "{world.prefix}\x1b[2J\'\\" LOGIN',
    )
    await world.set_up(world.question())
    assert (await world.script(world.question())).replace("\n", "").isprintable(), "it is shown as it is applied"
    assert await world.fetch("select count(*) from public.orders") == [2]


@pytest.mark.parametrize("table", ['"x; DROP TABLE orders"', '"two\nlines"', '"\x1b[2J\u202e\\""\U000e0001"'])
async def test_odd_names_are_readable_like_others(world: World, table: str) -> None:
    await world.execute(f"CREATE TABLE public.{table} (a int)")
    await world.set_up(world.question())
    async with world.session(world.roles.roles["read"][0]) as reader:
        assert await world.allowed(reader, f"SELECT * FROM public.{table}")


async def test_without_rights_to_apply_it_nothing_is_half_done(world: World) -> None:
    """One transaction: a statement that fails undoes those before it."""
    await world.make_account()
    written = await world.script(world.question())
    before = await world.acls()
    with pytest.raises(asyncpg.PostgresError):
        await world.execute(written.replace("COMMIT;", "SELECT 1 / 0; COMMIT;"))
    assert await world.acls() == before


async def test_functions_that_rules_name_may_be_called_by_the_role_for_calls(world: World) -> None:
    roles = type(world.roles)(roles={**world.roles.roles, "exec": (f"{world.prefix}exec",)})
    peek = rule("peek", match={"action": "unknown", "functions": ["public.peek"]}, effect="allow")
    await world.execute("REVOKE EXECUTE ON FUNCTION public.twice FROM PUBLIC")
    peek["match"]["functions"].append("public.twice")
    await world.set_up(world.question(*RULES, peek, roles=roles))
    async with world.session(f"{world.prefix}exec") as caller:
        assert await world.allowed(caller, "SELECT * FROM public.peek()")
        assert await world.allowed(caller, "SELECT public.twice(1)")
        assert not await world.allowed(caller, "SELECT hr.raise_all()")
        assert not await world.allowed(caller, "SELECT lo_create(0)")
        assert not await world.allowed(caller, "SELECT * FROM public.orders")


async def test_an_account_that_was_wide_is_made_narrow(world: World) -> None:
    await world.make_account("LOGIN CREATEDB NOINHERIT")
    await world.execute(
        f"GRANT pg_monitor, {world.prefix}crew TO {world.account}",
        f"GRANT ALL ON public.orders, hr.salaries TO {world.account}",
        f"GRANT SELECT (email) ON public.customers TO {world.account}",
        f"GRANT CREATE ON DATABASE {world.database} TO {world.account}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {world.account}",
    )
    await world.execute(await world.script(world.question()))
    unmended = {"createrole-before-16"} if await world.version() < 16 else set()
    assert codes(await world.findings(world.question()), "critical", "warning") == unmended
    assert await world.fetch("select rolcreatedb from pg_roles where rolname = $1", world.account) == [False]
    admin = await world.connect(world.account, world.password)
    try:
        for closed in ("SELECT * FROM public.orders", "SELECT email FROM public.customers", "CREATE SCHEMA mine"):
            assert not await world.allowed(admin, closed)
        await world.refused(admin, f"SET ROLE {world.prefix}crew")
    finally:
        await admin.close()
