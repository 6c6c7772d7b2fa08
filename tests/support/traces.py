"""Looks for secrets in whatever a test run has left behind: as they are, and as encodings spell them."""

from __future__ import annotations

import base64
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import zstandard

_FRAME = re.escape(b"\x28\xb5\x2f\xfd")  # with which zstd begins: recordings, batches of decisions
_MOST = 64 * 1024 * 1024


def spellings(secret: str) -> set[bytes]:
    raw = secret.encode()
    found = {raw, raw[::-1], raw.hex().encode(), raw.hex().upper().encode(), quote(secret, safe="").encode()}
    found.add("".join(f"%{byte:02X}" for byte in raw).encode())
    found.add(secret.encode("utf-16-le"))
    for shift in range(3):  # in base64 it looks different by what stands before it
        whole = base64.b64encode(b"\0" * shift + raw)
        inner = whole[4 if shift else 0 : len(whole) // 4 * 4 - 4]
        found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


class Search:
    """`secrets`: by what they are called in a failure."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._names = {spelling: name for name, secret in secrets.items() for spelling in spellings(secret)}
        self.seen = 0  # bytes that were looked through
        self.places = 0

    def found(self, places: Iterable[tuple[str, bytes]]) -> list[str]:
        hits = []
        for place, content in places:
            self.places += 1
            for part in (content, *_inflated(content)):
                self.seen += len(part)
                names = {name for spelling, name in self._names.items() if spelling in part}
                hits += [f"{name} in {place}" for name in sorted(names)]
        return hits


def _inflated(content: bytes) -> Iterator[bytes]:
    for match in re.finditer(_FRAME, content):
        try:
            yield zstandard.ZstdDecompressor().decompressobj().decompress(content[match.start() :])
        except zstandard.ZstdError:
            continue  # these four bytes were something else


def files(folder: Path, *, but: Iterable[Path] = ()) -> Iterator[tuple[str, bytes]]:
    """All below it, and the rows of databases: a value may lie across their pages."""
    passed_over = {path.resolve() for path in but}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.resolve() not in passed_over:
            content = path.read_bytes()[:_MOST]
            yield str(path), content
            if content.startswith(b"SQLite format 3\0"):
                yield f"rows of {path}", _rows(path)


def _rows(path: Path) -> bytes:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
    try:
        tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
        cells = [cell for table in tables for row in database.execute(f'select * from "{table}"') for cell in row]
    finally:
        database.close()
    return b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells)


def processes() -> Iterator[tuple[str, bytes]]:
    """Arguments and environment of every process that this one has started, at any remove."""
    for pid in _descendants(os.getpid()):
        for name in ("cmdline", "environ"):
            try:
                yield f"/proc/{pid}/{name}", Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                continue  # it has ended


def _descendants(pid: int) -> set[int]:
    children: dict[int, set[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, set()).add(int(stat.parent.name))
    found, new = set[int](), {pid}
    while new:
        new = {child for one in new for child in children.get(one, ())} - found
        found |= new
    return found
