"""How the agent itself signs in to a target over asyncpg, also while its password is being changed."""

from __future__ import annotations

import contextlib
from typing import Any

import asyncpg

from data_plane.credentials.ports import PasswordCredential
from data_plane.protocols.postgres.own_connection import connect
from data_plane.runtime.secret import Secret


async def sign_in(credential: PasswordCredential, **how: Any) -> asyncpg.Connection[Any]:
    """`how`: as for asyncpg.connect, and raises what it raises."""
    passwords = (credential.password, *credential.also)
    for password in passwords[:-1]:
        with contextlib.suppress(asyncpg.InvalidPasswordError):
            return await _connect(credential.username, password, how)
    return await _connect(credential.username, passwords[-1], how)


async def _connect(username: str, password: Secret, how: dict[str, Any]) -> asyncpg.Connection[Any]:
    return await connect(user=username, password=password.reveal(), **how)
