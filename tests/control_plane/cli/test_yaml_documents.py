"""Reading YAML: where a field stands, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.cli.yaml_documents import DocumentError, dump_documents, load_documents

TWO = """\
apiVersion: assentry.dev/v1
kind: Policy
metadata: {name: p}
spec:
  rules:
    - name: reads
      effect: allow
    - name: writes
      efect: hold
---
kind: Mask
"""


def test_a_path_leads_to_the_line_it_was_written_on(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(TWO)
    policy, mask = load_documents(file)
    assert policy.place("$.spec.rules[1].efect") == f"{file}:9:7"
    assert policy.place("$.metadata.name") == f"{file}:3:12"
    assert mask.place("$.kind") == f"{file}:11:1"


def test_a_path_to_something_missing_leads_to_its_nearest_parent(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(TWO)
    assert load_documents(file)[0].place("$.spec.rules[0].approval") == f"{file}:6:7"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2\n", ":2:"),
        ("- 1\n", "must be a mapping"),
        ("a: [1\n", "not valid YAML"),
        ("a: *x\n", "undefined alias"),
        ('a: "\x01"\n', "unacceptable character"),
        ("&r\na: 1\nb: *r\n", "inside what it names"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(DocumentError) as refused:
        load_documents(file)
    assert str(refused.value).startswith(str(file))
    assert says in str(refused.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="no YAML files here"):
        load_documents(tmp_path)


def test_hidden_folders_are_left_alone_unless_they_are_named(tmp_path: Path) -> None:
    named = tmp_path / ".hidden"
    for folder in (named, named / "more", named / ".venv" / "lib", named / "more" / ".git"):
        folder.mkdir(parents=True)
        (folder / "p.yaml").write_text("kind: Mask\n")
    assert [document.file for document in load_documents(named)] == [named / "more" / "p.yaml", named / "p.yaml"]
    with pytest.raises(DocumentError, match="no YAML files here"):
        load_documents(tmp_path)


def test_what_is_not_there_is_told_apart_from_what_holds_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"nosuch\.yaml: there is no such file or folder"):
        load_documents(tmp_path / "nosuch.yaml")
    with pytest.raises(DocumentError, match="no YAML files here"):
        load_documents(Path("/dev/null"))


def test_what_is_exported_reads_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(TWO)
    contents = [document.content for document in load_documents(file)]
    file.write_text(dump_documents(contents))
    assert [document.content for document in load_documents(file)] == contents
