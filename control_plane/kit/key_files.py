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

from control_plane.kit.sealing import FileSeal


def opened(directory: Path, make_first: Callable[[], object]) -> Sequence[Path]:
    """The files, oldest first; an empty directory gets its first."""
    made(directory)
    if not any(directory.glob("*.pem")):
        make_first()
    return sorted(directory.glob("*.pem"))


def made(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def next_number(directory: Path) -> str:
    """With which the name of another key begins."""
    numbers = [int(number) for file in directory.glob("*.pem") if (number := file.stem.partition("-")[0]).isdecimal()]
    return f"{max(numbers, default=0) + 1:04d}"


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
