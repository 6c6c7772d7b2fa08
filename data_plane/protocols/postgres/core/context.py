"""What the parts of one session's core share: the ports they ask, and the state that everything is judged under."""

from __future__ import annotations

from collections.abc import Callable

from data_plane.gate.interface import Allowed, Held
from data_plane.protocols.postgres import messages as m
from data_plane.protocols.postgres.core.names import NameTables
from data_plane.protocols.postgres.core.ports import Limits
from data_plane.protocols.postgres.core.settings import Settings
from data_plane.protocols.postgres.core.units import PlainUnit
from data_plane.protocols.postgres.interface import Classifier, Masking, Names


class Context:
    """What planning reads of the session."""

    __slots__ = (
        "catalogue", "classifier", "describes", "failed", "ground", "limits", "masking", "masks",
        "settings", "spare", "status", "tables", "unsynced",
    )  # fmt: skip

    def __init__(
        self, classifier: Classifier, catalogue: Names, masking: Masking, masks: tuple[str, ...], limits: Limits,
        settings: Settings, ground: Callable[[], object],
    ) -> None:  # fmt: skip
        """`ground`: what judgements stand on at the moment; see `Gate.ground`."""
        self.classifier = classifier
        self.catalogue = catalogue
        self.masking = masking
        self.masks = masks
        self.limits = limits
        self.settings = settings
        self.tables = NameTables()
        self.status = m.IDLE
        self.unsynced = False  # something ran since that was told: it may have begun or ended a transaction
        self.failed = False  # the transaction, as far as it is answered: its next end only rolls back
        self.ground = ground
        self.spare: PlainUnit | None = None  # answered, and in nobody's hands any more
        self.describes = self.masking.active or bool(masks)  # portals that the client does not describe

    @property
    def in_transaction(self) -> bool:
        """Or may be."""
        return self.unsynced or self.status != m.IDLE

    @property
    def masked(self) -> bool:
        return self.masking.active or bool(self.masks)

    def must_describe(self, verdict: object) -> bool:
        """Whether a verdict is the session's first with masks of its own: from then on every portal is described."""
        masks = verdict.masks if isinstance(verdict, Allowed) else ()
        if isinstance(verdict, Held):
            masks = verdict.decision.masks
        if not masks or self.describes:
            return False
        self.describes = True
        return True
