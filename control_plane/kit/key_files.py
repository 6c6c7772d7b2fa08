"""A directory of private keys: PEM, one a file, sealed, its owner's alone, numbered in the order in which they came.

Numbers go on after the highest, so a key that is taken out never lets a new one stand before another, or in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from control_plane.kit.sealing import FileSeal, SealError


def opened(directory: Path, make_first: Callable[[], object]) -> Sequence[Path]:
    """The files, oldest first; an empty directory gets its first. Raises SealError: one is not numbered."""
    made(directory)
    if not _numbered(directory):
        make_first()
    return [file for _, file in _numbered(directory)]


def made(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def next_number(directory: Path) -> str:
    """With which the name of another key begins. Raises SealError: a file is not numbered."""
    return f"{max((number for number, _ in _numbered(directory)), default=0) + 1:04d}"


def _numbered(directory: Path) -> Sequence[tuple[int, Path]]:
    return sorted((_number(file), file) for file in directory.glob("*.pem"))


def _number(file: Path) -> int:
    """The newest signs, so nobody guesses how old a key is."""
    number = file.stem.partition("-")[0]
    if number.isascii() and number.isdecimal():
        return int(number)
    raise SealError(
        f"the name of {file} does not begin with the key's number: call it as it was called, or, if the key is to be"
        " used no more, take the file out of the folder"
    )


def content(file: Path, seal: FileSeal, what: str) -> bytes:
    """Raises SealError, PermissionError."""
    if file.stat().st_mode & 0o077:
        raise PermissionError(f"{file} can be read by others; chmod 600 it and consider the key known to them")
    return seal.read(file, what)


def ed25519(file: Path, seal: FileSeal, what: str) -> Ed25519PrivateKey:
    """Raises SealError, PermissionError, TypeError."""
    key = load_pem_private_key(content(file, seal, what), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{file} holds no Ed25519 key")
    return key


def private_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
