"""From a verified assertion to what every protocol tells of a person (`domain.Told`). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from control_plane.sign_on.documents import GroupRules, IdentityProviderSpec, Saml
from control_plane.sign_on.domain import Told
from control_plane.sign_on.saml_assertion import TRANSIENT, Assertion
from control_plane.sign_on.saml_xml import XmlRefusedError

_EMAIL_FORMAT: Final = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
# Entra leaves the groups out when there are more than 150, and puts the address of its own interface there instead.
_OVERAGE: Final = "http://schemas.microsoft.com/claims/groups.link"
_LONGEST: Final = 255


def told(provider: str, entity: str, spec: IdentityProviderSpec, saml: Saml, assertion: Assertion) -> Told:
    """Raises XmlRefusedError: it does not name the person so that they are the same the next time."""
    if saml.acr and assertion.acr not in saml.acr:
        raise XmlRefusedError(f"the person was authenticated by {assertion.acr!r}, which is not asked for")
    email = _email(saml, assertion)
    return Told(
        provider=provider,
        subject=_subject(entity, saml, assertion),
        issuer=entity,
        called=_called(saml, assertion, email),
        email=email,
        email_verified=bool(email) and saml.email_verified,
        groups=_groups(spec.groups, assertion),
        session=assertion.session,
        acr=assertion.acr,
        authenticated_at=assertion.authenticated_at,
    )


def _subject(entity: str, saml: Saml, assertion: Assertion) -> str:
    if saml.subject:
        value = _single(assertion, saml.subject)
        if not value:
            raise XmlRefusedError(f"the attribute {saml.subject!r}, which names the person, has no single value")
    elif assertion.name.format == TRANSIENT:
        raise XmlRefusedError(
            "the NameID is another at every sign-in: let the provider send a persistent one, or name the attribute "
            "that stays the same in `saml.subject`"
        )
    else:
        own = assertion.name.qualifier in {"", entity}
        value = assertion.name.value if own else f"{assertion.name.qualifier}!{assertion.name.value}"
    if len(value) > _LONGEST or not value.isprintable():
        raise XmlRefusedError(f"what names the person has more than {_LONGEST} characters, or some that do not print")
    return value


def _email(saml: Saml, assertion: Assertion) -> str:
    named = assertion.name.value if assertion.name.format == _EMAIL_FORMAT else ""
    found = _single(assertion, saml.email) if saml.email in assertion.attributes else named
    return found if "@" in found and len(found) <= _LONGEST and found.isprintable() else ""


def _called(saml: Saml, assertion: Assertion, email: str) -> str:
    if saml.called:
        return _single(assertion, saml.called)
    return email.partition("@")[0] or assertion.name.value


def _single(assertion: Assertion, attribute: str) -> str:
    values = assertion.attributes.get(attribute, ())
    return values[0] if len(values) == 1 else ""


def _groups(rules: GroupRules, assertion: Assertion) -> Sequence[str] | None:
    """Somebody without a group has no such attribute at most providers, so that one is missing takes groups away."""
    if not rules.map and not rules.same_names:
        return None
    if rules.claim not in assertion.attributes and _OVERAGE in assertion.attributes:
        raise XmlRefusedError(
            "the person is in more groups than the provider tells: let it send the assigned ones only"
        )
    return assertion.attributes.get(rules.claim, ())
