"""What the agent itself signs in with at each target: one source for each, wherever its secret is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from data_plane.credentials.chosen import ChosenStore
from data_plane.credentials.configured import Asking, Place, open_store
from data_plane.credentials.ports import SecretStore
from data_plane.credentials.settings import CredentialSettings
from data_plane.credentials.stored import StoredCredential
from data_plane.gate.ports import Clock
from data_plane.identifiers import TargetName
from data_plane.policy.model import TargetSpec
from data_plane.runtime.secret import Secret


class Told(msgspec.Struct, frozen=True):
    """What the agent's configuration says of one target. `place`: None: its document must name a secret."""

    place: Place | None
    username: str = ""  # of a secret that names none
    preview_place: Place | None = None
    preview_username: str = ""


class OwnCredentials:
    """`sealed`: the store of a target whose document names a secret. `spec`: as it is now; None: not known."""

    def __init__(
        self,
        told: Mapping[TargetName, Told],
        sealed: Callable[[TargetName], SecretStore],
        spec: Callable[[TargetName], TargetSpec | None],
        clock: Clock,
    ) -> None:
        self._told, self._sealed, self._spec, self._clock = told, sealed, spec, clock
        self._sources: dict[TargetName, StoredCredential] = {}

    def source(self, name: TargetName) -> StoredCredential:
        if name not in self._sources:
            told = self._told[name]
            self._sources[name] = StoredCredential(self._store(name, told), told.username, self._preview(name, told))
        return self._sources[name]

    def kept(self, name: TargetName) -> str:
        """For people: in what kind of place, and its name."""
        if secret := self._secret_of(name):
            return f"sealed by the control plane: {secret}"
        match self._told[name].place:
            case None:
                return "nowhere yet"
            case Secret():
                return "the agent's environment"
            case CredentialSettings() as settings:
                return settings.chosen[0].replace("_", " ")
            case path:
                return f"file: {path}"

    def _store(self, name: TargetName, told: Told) -> SecretStore:
        configured = None if told.place is None else self._opened(name, told.place, told.username)
        return ChosenStore(self._sealed(name), configured, lambda: bool(self._secret_of(name)))

    def _preview(self, name: TargetName, told: Told) -> StoredCredential | None:
        if told.preview_place is None:
            return None
        store = self._opened(name, told.preview_place, told.preview_username)
        return StoredCredential(store, told.preview_username)

    def _opened(self, name: TargetName, place: Place, username: str) -> SecretStore:
        return open_store(place, Asking(name, username, lambda: self._spec(name), self._clock))

    def _secret_of(self, name: TargetName) -> str:
        spec = self._spec(name)
        return spec.credential.secret if spec is not None else ""
