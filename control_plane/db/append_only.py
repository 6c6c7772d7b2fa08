"""Makes a table append-only in the database itself, whoever connects to it: for migrations."""

from __future__ import annotations

_POSTGRES = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
""".strip()


def guards(table: str, dialect: str) -> list[str]:
    """The statements that create the triggers."""
    if dialect == "postgresql":
        trigger = f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        return [_POSTGRES, f"{trigger} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"]
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    return [
        f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} {refuse}"
        for change in ("UPDATE", "DELETE")
    ]
