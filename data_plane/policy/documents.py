"""Documents in: JSON or plain values become model types, or a `Problem` that says where and what to do.

Not the meaning of a document (`validate`) and not YAML (the command line reads it and sends JSON).
Unknown fields, wrong types and unknown kinds are refused; the nearest known field is suggested.
"""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from data_plane.policy import model

API_VERSION = model.API_VERSION
_KINDS: dict[str, type[msgspec.Struct]] = {
    kind.__name__: kind for kind in (model.Policy, model.ApprovalChain, model.OnCallSchedule, model.Mask, model.Target)
}
_STEP = re.compile(r"\.([A-Za-z0-9_]+)|\[(\d+|\.\.\.)\]")
_OF_KEY = "key` in `"  # how msgspec begins the place of a name that is not one of those that may stand there
_UNKNOWN_FIELD = re.compile(r"^Object contains unknown field `(?P<field>[^`]*)`")
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a document. `path` is a JSON path from its root: `$.spec.rules[0].when`."""

    kind: str
    name: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind or 'document'} {self.name or '(no name)'} {self.path}: {self.message}"


def decode(data: bytes | str) -> model.AnyDocument | Problem:
    """One JSON document."""
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        return Problem("", "", "$", f"not JSON: {error}")
    return convert(value)


def convert(value: object) -> model.AnyDocument | Problem:
    """One document as dictionaries, lists, strings, numbers and booleans."""
    if not isinstance(value, dict):
        return Problem("", "", "$", "a document is an object with apiVersion, kind, metadata and spec")
    kind, name = _told(value)
    shape = _KINDS.get(kind)
    if shape is None:
        return Problem(kind, name, "$.kind", _unknown("kind", kind, sorted(_KINDS)))
    document = into(shape, value, kind, name)
    return typing.cast("model.AnyDocument | Problem", document)


def decode_spec(shape: type[_Struct], kind: str, name: str, data: bytes | str) -> _Struct | Problem:
    """The JSON of a bare spec, as a snapshot carries a target's."""
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        return Problem(kind, name, "$", f"not JSON: {error}")
    return into(shape, value, kind, name)


def encode(document: msgspec.Struct) -> str:
    """Canonical JSON: every field, names sorted. Equal documents have equal text."""
    return msgspec.json.encode(document, order="sorted").decode()


def sparse(value: object) -> Any:
    """As JSON values, without the fields that say what they would say if they were left out."""
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        tag = {config.tag_field: config.tag} if config.tag_field else {}
        fields = [(field, getattr(value, field.name)) for field in msgspec.structs.fields(value)]
        return tag | {
            field.encode_name: sparse(one) for field, one in fields if field.required or one != _left_out(field)
        }
    if isinstance(value, (tuple, list)):
        return [sparse(one) for one in value]
    if isinstance(value, dict):
        return {name: sparse(one) for name, one in value.items()}
    return msgspec.to_builtins(value)


def _left_out(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _told(value: dict[Any, Any]) -> tuple[str, str]:
    """Kind and name as far as they can be told, for the report only."""
    kind, metadata = value.get("kind"), value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return (kind if isinstance(kind, str) else ""), (name if isinstance(name, str) else "")


def into(shape: type[_Struct], value: object, kind: str, name: str) -> _Struct | Problem:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        return _problem(shape, kind, name, str(error))
    except RecursionError:
        return Problem(kind, name, "$", "lists and objects stand in each other too deeply")


def _problem(shape: type, kind: str, name: str, message: str) -> Problem:
    text, _, path = message.partition(" - at `")
    of_key = path.startswith(_OF_KEY)
    path = path.removeprefix(_OF_KEY).rstrip("`") or "$"
    field = _UNKNOWN_FIELD.match(text)
    if field is None:
        there = _type_at(shape, path)
        there = typing.get_args(there)[0] if of_key else there
        choices = _choices(there) if text.startswith("Invalid enum value") else []
        told = f"{text[0].lower()}{text[1:]}"
        return Problem(kind, name, path, f"{told}; choose one of: {', '.join(choices)}" if choices else told)
    text = _unknown("field", field["field"], _fields_at(shape, path))
    return Problem(kind, name, f"{path}.{field['field']}", text)


def _unknown(what: str, given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"unknown {what} {given!r}; {hint}"


def _type_at(shape: Any, path: str) -> Any:
    for step in _STEP.finditer(path):
        shape = _inner(shape, step[1])
    return shape


def _fields_at(shape: Any, path: str) -> list[str]:
    return sorted(_names(_type_at(shape, path)))


def _choices(shape: Any) -> list[str]:
    """What a field of a few words may be; the empty one is what it is when it is left out."""
    if typing.get_origin(shape) is typing.Literal:
        return [choice for choice in typing.get_args(shape) if choice]
    of_union = typing.get_origin(shape) in (types.UnionType, typing.Union)
    return [choice for member in (typing.get_args(shape) if of_union else ()) for choice in _choices(member)]


def _names(shape: Any) -> set[str]:
    if isinstance(shape, types.UnionType):
        return {name for member in typing.get_args(shape) for name in _names(member)}
    if not (isinstance(shape, type) and issubclass(shape, msgspec.Struct)):
        return set()
    tag = {"kind"} if shape.__name__ in _KINDS else set()
    return set(shape.__struct_encode_fields__) | tag


def _inner(shape: Any, field: str | None) -> Any:
    """The type one step further: of a field, or of a member when `field` is None."""
    of_union = typing.get_origin(shape) in (types.UnionType, typing.Union)
    for option in typing.get_args(shape) if of_union else (shape,):
        if field is None and typing.get_origin(option) is tuple:
            return typing.get_args(option)[0]
        if field is not None and isinstance(option, type) and issubclass(option, msgspec.Struct):
            names = {one.encode_name: one.name for one in msgspec.structs.fields(option)}
            found = typing.get_type_hints(option).get(names.get(field, field))
            if found is not None:  # else it is a field of another member of the union
                return found
    return None
