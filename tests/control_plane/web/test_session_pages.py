"""What a page of a session makes of the events of its recording."""

from __future__ import annotations

from control_plane.recordings.schemas import ColumnOut, CompletedOut, ResultOut
from control_plane.web.session_pages import joined


def piece(number: int = 1, **fields: object) -> ResultOut:
    return ResultOut(at_ms=5, operation=number, **fields)


def test_the_pieces_of_a_result_are_one_table_and_the_next_result_is_another() -> None:
    columns = [ColumnOut(name="a", type="text")]
    done = CompletedOut(at_ms=6, operation=1, status="SELECT 2", rows=2, rows_kept=2, bytes=9)
    pieces = [piece(columns=columns), piece(rows=[["1"]]), piece(rows=[["2"]], tags=["SELECT 2"])]
    further = [piece(columns=columns, tags=["SELECT 0"]), done, piece(2, rows=[["3"]])]
    first, *rest = joined([*pieces, *further])
    assert isinstance(first, ResultOut)
    assert (first.columns, first.rows, first.tags) == (columns, [["1"], ["2"]], ["SELECT 2"])
    assert rest == further
