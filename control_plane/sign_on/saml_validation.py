"""What is wrong with a SAML provider's document, told when it is written. Pure: what is at an address is not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from control_plane.documents.domain import World
from control_plane.kit.outside import allowed
from control_plane.sign_on.documents import KIND, IdentityProvider, Linking, Saml
from control_plane.sign_on.saml_described import is_address
from control_plane.sign_on.saml_metadata import certificate_of, read
from control_plane.sign_on.saml_xml import XmlRefusedError
from data_plane.policy.documents import Problem

_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)  # whether it is still valid is asked at each sign-in


def check(world: World) -> Sequence[Problem]:
    providers: list[IdentityProvider] = list(world.of(KIND))
    return [
        Problem(KIND, one.metadata.name, path, message)
        for one in providers
        if one.spec.saml is not None
        for path, message in _problems(one.spec.saml, one.spec.linking)
    ]


def _problems(saml: Saml, linking: Linking) -> Iterator[tuple[str, str]]:
    if problem := _signer_problem(saml) or _metadata_problem(saml):
        yield problem
    if linking.by_email and not saml.email_verified:
        message = "no address is taken for verified; say saml.email_verified if the provider lets nobody choose theirs"
        yield "$.spec.linking.by_email", message


def _signer_problem(saml: Saml) -> tuple[str, str] | None:
    if not saml.signed_by:
        return None
    try:
        certificate_of(saml.signed_by)
    except XmlRefusedError as error:
        return "$.spec.saml.signed_by", str(error)
    return None


def _metadata_problem(saml: Saml) -> tuple[str, str] | None:
    path = "$.spec.saml.metadata"
    if is_address(saml.metadata):
        message = "must be the XML itself, or an address that begins with https:// (http:// on this machine only)"
        return None if allowed(saml.metadata) else (path, message)
    try:
        read(saml.metadata.encode(), _LONG_AGO, saml.signed_by)
    except XmlRefusedError as error:
        return path, str(error)
    return None
