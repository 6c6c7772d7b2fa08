"""Changes the password of the account that an agent signs in with, and locks nobody out, wherever it is broken off.

The store always says enough to sign in. What a rotation is about to make is written there before it is made, beside
what is in force (`waiting`), so that a crash, a failure or a lost answer between any two steps leaves an account that
works, and the next call goes on from what the store says.

Two accounts by turns (`next`: the other one takes over; `old`: it has been replaced; `asleep`: it waits its turn):

    store the new password as `next` → set it → sign in with it → store that account as the one in use, the other one
    as `old` → wait until nobody signs in with what was read before → disable the old one → store that

One account, whose old password ends when the new one is set:

    store the new password as `next` → wait until everybody who signs in knows both (`PasswordCredential.also`) → set it
    → sign in with it → store it as the only one

An account that may not disable the other one is put to sleep by itself: it gets a password that only the store knows.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, Protocol

import msgspec
import structlog

from data_plane.credentials import stored
from data_plane.credentials.ports import CredentialError, PasswordCredential, SecretStore
from data_plane.credentials.stored import Stage, Waiting
from data_plane.runtime.secret import Secret

log = structlog.get_logger(__name__)

SETTLE_SECONDS: Final = 15.0  # longer than a sign-in may take
_PASSWORD_BYTES: Final = 32


class NoRightError(CredentialError):
    """The account may not do this at the target."""


class Accounts(Protocol):
    """What rotation needs of a target. Everything raises CredentialError when the target cannot be asked."""

    async def opens(self, credential: PasswordCredential) -> bool:
        """Whether the target lets this in."""

    async def lacks(self, active: PasswordCredential, other: str) -> Sequence[str]:
        """What the account that is in use has and the other one has not: sessions would miss it."""

    async def change(self, credential: PasswordCredential, password: Secret) -> None:
        """The account gives itself another password."""

    async def awaken(self, active: PasswordCredential, other: str, password: Secret) -> None:
        """Lets the other account sign in, with this password. Raises NoRightError."""

    async def hand_over(self, old: PasswordCredential, new: str) -> None:
        """The old account gives the new one the say over the session accounts that it has made."""

    async def disable(self, active: PasswordCredential, other: str) -> None:
        """Nobody signs in with the other account any more. Raises NoRightError."""

    async def sessions(self, active: PasswordCredential, other: str) -> int:
        """How many still run under the other account."""


class Rotated(msgspec.Struct, frozen=True):
    """What is told of it; it holds no secret."""

    account: str  # in use from now on
    previous: str
    resumed: bool  # finished what an earlier one had begun
    disabled: Literal["", "disabled", "asleep"] = ""  # how the previous one ended; empty: it is the same account
    remaining: int = 0  # sessions that still run under it
    problem: str = ""  # the new one is in force, but


class Rotation:
    """Of one target. Calls must not overlap, in any agent."""

    def __init__(
        self,
        store: SecretStore,
        username: str,
        accounts: Accounts,
        turns: tuple[str, str] | None,
        settle: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`username`: of a secret that names none. `turns`: None: one account."""
        self._store, self._username, self._accounts, self._turns = store, username, accounts, turns
        self._settle = settle or _settled
        self._known: tuple[PasswordCredential, Waiting | None]  # what the secret says, as this rotation left it

    async def rotate(self) -> Rotated:
        """Finishes what an earlier call has begun, else makes a new password. Raises CredentialError: what was in force
        is, or the new one."""
        if not self._store.writable:
            raise CredentialError("the secret is kept where the agent cannot write it: keep it in a file or a store")
        active, waiting = self._known = self._said(await self._store.read())
        resumed = waiting is not None and waiting.stage is not Stage.ASLEEP
        if waiting is None or waiting.stage is Stage.ASLEEP:
            waiting = await self._begun(active, waiting)
        if waiting.username == active.username:
            return await self._changed(active, waiting, resumed=resumed)
        if waiting.stage is Stage.NEXT:
            active, waiting = await self._switched(active, waiting, resumed=resumed)
        return await self._ended(active, waiting, resumed=resumed)

    async def _begun(self, active: PasswordCredential, asleep: Waiting | None) -> Waiting:
        other = self._other(active.username)
        if other != active.username and (missing := await self._accounts.lacks(active, other)):
            raise CredentialError(f"{other} must be able to do what {active.username} can: {'; '.join(missing)}")
        if not await self._accounts.opens(active):
            raise CredentialError(f"the target does not let {active.username} in with what is stored: mend that first")
        known = asleep.passwords if asleep is not None and asleep.username == other else ()
        waiting = Waiting(Stage.NEXT, other, (*known, _new_password()))
        await self._write(active, waiting)
        return waiting

    def _other(self, username: str) -> str:
        if self._turns is None:
            return username
        if username not in self._turns:
            raise CredentialError(f"rotate.accounts names {' and '.join(self._turns)}, but {username} is in use")
        return self._turns[1] if username == self._turns[0] else self._turns[0]

    # -------------------------------------------------------------- one account

    async def _changed(self, active: PasswordCredential, waiting: Waiting, *, resumed: bool) -> Rotated:
        new = PasswordCredential(active.username, waiting.passwords[-1])
        if not (resumed and await self._accounts.opens(new)):
            await self._settle()
            await self._unchanged()
            await self._accounts.change(active, new.password)
            await self._must_open(new)
        await self._write(new, None)
        return Rotated(new.username, new.username, resumed)

    # -------------------------------------------------------------- two by turns

    async def _switched(
        self, active: PasswordCredential, waiting: Waiting, *, resumed: bool
    ) -> tuple[PasswordCredential, Waiting]:
        new = PasswordCredential(waiting.username, waiting.passwords[-1])
        if not (resumed and await self._accounts.opens(new)):
            await self._awakened(active, waiting, new.password)
            await self._must_open(new)
        old = Waiting(Stage.OLD, active.username, (active.password,))
        await self._write(new, old)
        log.info("another account of the target is in use", account=new.username, previous=active.username)
        return new, old

    async def _awakened(self, active: PasswordCredential, waiting: Waiting, password: Secret) -> None:
        for known in waiting.passwords[:-1]:
            sleeping = PasswordCredential(waiting.username, known)
            if await self._accounts.opens(sleeping):
                await self._accounts.change(sleeping, password)
                return
        await self._accounts.awaken(active, waiting.username, password)

    async def _ended(self, active: PasswordCredential, old: Waiting, *, resumed: bool) -> Rotated:
        """From here on the new account is in force, so that a failure is told beside that."""
        await self._settle()
        done = Rotated(active.username, old.username, resumed)
        try:
            known = await self._still(old)
            if known is not None:
                await self._accounts.hand_over(known, active.username)
            ended = await self._disabled(active, old, known)
            remaining = await self._accounts.sessions(active, old.username)
            return msgspec.structs.replace(done, disabled=ended, remaining=remaining)
        except CredentialError as error:
            log.warning("the account that was replaced is not disabled", account=old.username, why=str(error))
            problem = f"{old.username} is not disabled: {error}"
            return msgspec.structs.replace(done, problem=problem)

    async def _still(self, old: Waiting) -> PasswordCredential | None:
        """How one can still sign in with the old account; None: not at all."""
        for password in old.passwords:
            credential = PasswordCredential(old.username, password)
            if await self._accounts.opens(credential):
                return credential
        return None

    async def _disabled(
        self, active: PasswordCredential, old: Waiting, known: PasswordCredential | None
    ) -> Literal["disabled", "asleep"]:
        try:
            await self._accounts.disable(active, old.username)
        except NoRightError:
            if known is None:
                raise
            return await self._asleep(active, old, known)
        await self._write(active, None)
        return "disabled"

    async def _asleep(self, active: PasswordCredential, old: Waiting, known: PasswordCredential) -> Literal["asleep"]:
        fresh = _new_password()
        await self._write(active, Waiting(Stage.OLD, old.username, (known.password, fresh)))
        await self._accounts.change(known, fresh)
        await self._write(active, Waiting(Stage.ASLEEP, old.username, (fresh,)))
        return "asleep"

    async def _must_open(self, new: PasswordCredential) -> None:
        if not await self._accounts.opens(new):
            raise CredentialError(f"the target does not let {new.username} in with its new password")

    async def _write(self, active: PasswordCredential, waiting: Waiting | None) -> None:
        """Beside whatever else is in the secret; never over what somebody else has written there meanwhile."""
        text = stored.renewed(await self._unchanged(), active, self._username, waiting)
        await self._store.write(text)
        self._known = self._said(text)

    async def _unchanged(self) -> Secret:
        """Asked again before anything changes at the target: what is set there must stand in the secret."""
        text = await self._store.read()
        if self._said(text) != self._known:
            raise CredentialError("somebody else has changed the secret: see what is in it, then rotate again")
        return text

    def _said(self, text: Secret) -> tuple[PasswordCredential, Waiting | None]:
        return stored.account(text, self._username), stored.waiting(text)


def _new_password() -> Secret:
    return Secret(secrets.token_urlsafe(_PASSWORD_BYTES))


async def _settled() -> None:
    await asyncio.sleep(SETTLE_SECONDS)
