"""`assentry audit verify`: what it prints of a file that is not whole, or no export at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from control_plane.audit.chain import GENESIS
from control_plane.audit.verification import FORMAT
from control_plane.cli.audit import verify_export

HEAD = {"type": "export", "format": FORMAT, "deployment": "test", "first_sequence": 1, "previous_hash": GENESIS.hex()}


def verified(tmp_path: Path, capsys: pytest.CaptureFixture[str], *lines: str) -> list[str]:
    """What is printed of a file that is not intact."""
    (tmp_path / "export").write_text("\n".join(lines))
    (tmp_path / "keys").write_text("[]")
    with pytest.raises(typer.Exit) as ended:
        verify_export(tmp_path / "export", keys=tmp_path / "keys")
    assert ended.value.exit_code == 1
    return capsys.readouterr().out.splitlines()


def test_the_first_problems_are_told_and_how_many_more_there_are(tmp_path: Path, capsys) -> None:
    told = verified(tmp_path, capsys, json.dumps(HEAD), *["{}"] * 25)
    assert [line.partition(":")[0] for line in told[:10]] == [f"line {number}" for number in range(2, 12)]
    assert told[10].startswith("… and 15 more")
    assert told[11].startswith("NOT intact")
    assert len(told) == 12


def test_where_the_reading_stopped_there_may_be_more(tmp_path: Path, capsys) -> None:
    told = verified(tmp_path, capsys, json.dumps(HEAD), *["{}"] * 500)
    assert told[10].startswith("… and at least 90 more")


@pytest.mark.parametrize(("lines", "read"), [(["# Assentry", "", "one line"], 2), (["not one"] * 500, 100)])
def test_a_file_that_is_no_export_is_told_in_one_line(tmp_path: Path, capsys, lines: list[str], read: int) -> None:
    told = verified(tmp_path, capsys, *lines)
    assert told[0] == (
        f"the export: none of the {read} lines read is one of an export: "
        "this is not what `assentry audit export` writes"
    )
    assert told[1].startswith("NOT intact")
    assert len(told) == 2
