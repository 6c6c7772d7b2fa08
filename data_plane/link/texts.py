"""Texts of targets and clients as a message can hold them. Which bytes were not UTF-8 is not told any more."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # stands for a byte that is not UTF-8, or is half a character
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def encodable(value: Any) -> Any:
    """The same value with U+FFFD for each lone surrogate, however deep in structs, tuples, lists and mappings."""
    match value:
        case enum.Enum():
            return value
        case str():
            return _SURROGATE.sub(_REPLACEMENT, value)
        case msgspec.Struct():
            fields = {name: encodable(getattr(value, name)) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **fields)
        case tuple() | list():
            return type(value)(encodable(item) for item in value)
        case Mapping():
            return {encodable(key): encodable(item) for key, item in value.items()}
    return value
