"""Whether a statement copies what a masked column holds to where no mask is: UPDATE t SET note = ssn, CREATE TABLE AS.
Pure.

Names decide, as in `exposure`, and what cannot be followed counts as copied. It stays possible where people judge: a
rule that holds such statements has them approved one by one (PROTOCOLS 2.7). Not covered: what triggers, functions and
rules of the target do behind a statement, and what predicates tell.
"""

from __future__ import annotations

from data_plane.protocols.postgres.columns import SetOfMasks
from data_plane.protocols.postgres.exposure import Reach, exposed_outputs
from data_plane.protocols.postgres.interface import ColumnSource, Statement


def launders(statement: Statement, masks: SetOfMasks) -> bool:
    stores = statement.stores
    if stores is None or stores.outputs is None:
        return False
    reach = Reach(anything=True) if masks.everything else masks.protection.read_by(statement, masks.hidden)
    exposed = exposed_outputs(stores, len(stores.outputs), reach)
    return any(shows and _of_rows(source) for source, shows in zip(stores.outputs, exposed, strict=True))


def _of_rows(source: ColumnSource) -> bool:
    return source.opaque or bool(source.columns)
