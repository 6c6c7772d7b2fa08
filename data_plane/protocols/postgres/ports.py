"""What the core of a session asks of the other parts of this package.

Classes and not Protocols: see `recording.interface.Recorder`. A module of its own because it is compiled; see
`interface`, by whose name they are imported.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from data_plane.gate.interface import Subject
    from data_plane.protocols.postgres.interface import CopyPlan, CopyRefused, Form, ResultPlan, SearchPath
    from data_plane.protocols.postgres.statement import ParsedQuery, Statement


@mypyc_attr(allow_interpreted_subclasses=True)
class Classifier:
    @abstractmethod
    def parse(self, text: bytes) -> ParsedQuery:
        """Never raises. Cached; a repeated text costs a dictionary look-up. `text` is UTF-8 without its NUL."""

    @abstractmethod
    def form(self, text: bytes) -> Form | None:
        """None: statements of which another may not take the place of this one. Never raises. Only for holds."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Names:
    """The target's catalogue, shared by its sessions. `stale`: something has changed since it was loaded."""

    stale: bool

    @abstractmethod
    def resolve(self, subject: Subject, path: SearchPath) -> Subject:
        """The subject with qualified candidates; the same object for the same arguments while the catalogue
        stands, so that the gate's decision beside it stays found."""

    @abstractmethod
    def runs_code(self, types: Iterable[int]) -> bool:
        """Whether making or casting values of these types (by OID) calls code of the database."""

    @abstractmethod
    def changed(self, by: Collection[Subject], *, names: frozenset[str] = frozenset()) -> None:
        """These ran somewhere: what is known may be stale. `names`: what means something else now; see ChangesNames."""

    @abstractmethod
    def altering(self, session: object, names: frozenset[str]) -> None:
        """What the open transaction of this session changes, from when it is sent on; empty: nothing any more."""

    @abstractmethod
    def unsure(self, subjects: Iterable[Subject]) -> bool:
        """Whether a load may tell more of what these mean, or of what masks protect in it. Resolved ones."""

    @abstractmethod
    def when_loaded(self, tell: Callable[[], None]) -> None:
        """`tell` is called once: after a load that sees all that has been committed by now, or has failed."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Masking:
    """Masking of one session. `active` False: results need no look at all."""

    active: bool

    @abstractmethod
    def result(
        self, description: bytes, formats: Sequence[int], statement: Statement | None, masks: tuple[str, ...]
    ) -> ResultPlan | None:
        """A plan for rows described by the payload of a RowDescription; None: nothing in them can need masking.

        `formats` are the result formats of the Bind that runs (empty: those of the description). `statement`
        None: the rows' origin is unknown, so computed columns are masked. Cached by its arguments."""

    @abstractmethod
    def copy(self, statement: Statement, masks: tuple[str, ...]) -> CopyPlan | CopyRefused | None: ...

    @abstractmethod
    def launders(self, statement: Statement, masks: tuple[str, ...]) -> bool:
        """Whether it may store what a masked column holds, where it could be read unmasked."""

    @abstractmethod
    def hidden(self, names: frozenset[str]) -> None:
        """From now on these names may mean temporary relations of the session, of which nothing is known."""

    @abstractmethod
    def in_doubt(self, *, altered: bool) -> None:
        """Whether names may mean anything (ChangesNames): then whatever a mask applies to is masked whole."""

    @abstractmethod
    def message(self, payload: bytes, *, masked: bool) -> bytes:
        """The payload of an ErrorResponse or NoticeResponse with protected values taken out; `masked`: an operation had
        masks that may reach it. As it is when that is not so and the session has none."""

    @abstractmethod
    def carries_mark(self, data: bytes) -> bool:
        """Whether what a client sends holds a masked value (DESIGN invariant 10)."""
