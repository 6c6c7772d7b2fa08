"""What people can be asked for. All three are one kind of row, one chain, one way to decide; they differ in what is
shown and in what agreement makes true.
"""

from __future__ import annotations

import enum


class Kind(enum.StrEnum):
    OPERATION = "operation"  # an agent holds it: agreement is a signed grant
    PLAN = "plan"  # operations told beforehand: each that is held and equals an unused one is granted at once
    ACCESS = "access"  # a group's targets for a limited time: agreement lends the group
