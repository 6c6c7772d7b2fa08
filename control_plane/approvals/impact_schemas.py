"""The impact preview and the row guard as the API shows them. Labels stand with the figures, so that none is taken for
another; what came from a target or client is made safe to print."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, Field

from control_plane.approvals.impact import DryRun, Figure, Guarded, Impact, TableRows
from control_plane.kit.display import displayed, visible

ESTIMATE: Final = "the planner's estimate from statistics: it may be wrong by orders of magnitude"
COUNT: Final = "counted by a SELECT of the same rows when it was asked for"
DRY_RUN: Final = "executed and rolled back when it was asked for"


class FactOut(BaseModel):
    name: str = Field(examples=["where"])
    value: str = Field(examples=["names a column"])


class FigureOut(BaseModel):
    label: str = Field(description="what kind of figure this is: show it beside the number", examples=[ESTIMATE])
    rows: int | None = Field(description="null: there is none", examples=[50_000])
    missing: str = Field(description="why there is none", examples=["the target did not answer within 2s"])

    @classmethod
    def of(cls, figure: Figure | None, label: str) -> FigureOut | None:
        if figure is None:
            return None
        return cls(label=label, rows=figure.rows, missing=displayed(figure.missing).text)


class TableRowsOut(BaseModel):
    table: str = Field(examples=["public.orders"])
    inserted: int
    updated: int
    deleted: int

    @classmethod
    def of(cls, table: TableRows) -> TableRowsOut:
        return cls(table=visible(table.table), inserted=table.inserted, updated=table.updated, deleted=table.deleted)


class KeysOut(BaseModel):
    columns: list[str] = Field(examples=[["id"]])
    rows: list[list[str]] = Field(description="some of them; masked as policy masks the columns", examples=[[["7"]]])


class DryRunOut(FigureOut):
    tables: list[TableRowsOut] = Field(description="rows of each table, those of cascades included")
    keys: KeysOut | None = Field(description="primary keys of a few of the rows; null: none could be had")
    milliseconds: int
    kept: list[str] = Field(description="what does not roll back", examples=[["locks were held until it was undone"]])

    @classmethod
    def of_run(cls, run: DryRun | None) -> DryRunOut | None:
        if run is None:
            return None
        keys = run.keys and KeysOut(
            columns=[visible(name) for name in run.keys.columns],
            rows=[[displayed(value).text for value in row] for row in run.keys.rows],
        )
        return cls(
            label=DRY_RUN,
            rows=run.rows,
            missing=displayed(run.missing).text,
            tables=[TableRowsOut.of(table) for table in run.tables],
            keys=keys,
            milliseconds=run.milliseconds,
            kept=[displayed(text).text for text in run.kept],
        )


class ImpactOut(BaseModel):
    """Looked up by the agent when the operation was held. It informs, and part of it is only an estimate."""

    facts: list[FactOut] = Field(description="read off the operation itself")
    estimate: FigureOut | None = Field(description="null: policy asks for none")
    count: FigureOut | None = Field(description="null: policy asks for none")
    dry_run: DryRunOut | None = Field(description="null: policy asks for none")
    notes: list[str] = Field(description="what to bear in mind, and why there is no preview where there is none")

    @classmethod
    def of(cls, impact: Impact | None) -> ImpactOut | None:
        if impact is None:
            return None
        return cls(
            facts=[FactOut(name=visible(fact.name), value=displayed(fact.value).text) for fact in impact.facts],
            estimate=FigureOut.of(impact.estimate, ESTIMATE),
            count=FigureOut.of(impact.count, COUNT),
            dry_run=DryRunOut.of_run(impact.dry_run),
            notes=[displayed(note).text for note in impact.notes],
        )


class RowGuardOut(BaseModel):
    most_rows: int | None = Field(description="null: nothing binds it", examples=[55_000])
    says: str = Field(
        description="the same as a sentence: show it",
        examples=["Undone if it touches more than 55,000 rows."],
    )

    @classmethod
    def of(cls, guarded: Guarded | None) -> RowGuardOut | None:
        if guarded is None:
            return None
        if guarded.most_rows is None:
            why = displayed(guarded.why).text
            return cls(most_rows=None, says=f"No row guard: it may touch any number of rows, because {why}.")
        return cls(most_rows=guarded.most_rows, says=f"Undone if it touches more than {guarded.most_rows:,} rows.")
