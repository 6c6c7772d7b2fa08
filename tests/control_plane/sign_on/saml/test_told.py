"""What an assertion tells of a person, and what is wrong with a provider's document."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from control_plane.documents.domain import World
from control_plane.sign_on import saml_validation
from control_plane.sign_on.documents import GroupRules, IdentityProvider, IdentityProviderSpec, Linking, Saml
from control_plane.sign_on.saml_assertion import TRANSIENT, Assertion, NameId
from control_plane.sign_on.saml_told import told
from control_plane.sign_on.saml_xml import XmlRefusedError
from data_plane.policy import model
from tests.control_plane.sign_on.saml.forging import ENTITY, NOW, PERSISTENT
from tests.control_plane.sign_on.saml.test_metadata import metadata

EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
OVERAGE = "http://schemas.microsoft.com/claims/groups.link"
MAPPED = GroupRules(map={"DBA Team": "dba"})
LASTING = NameId("7f3a", PERSISTENT)
NO_LINKING = Linking()


def tell(
    attributes: dict[str, tuple[str, ...]] | None = None,
    name: NameId = LASTING,
    rules: GroupRules = MAPPED,
    **saml: Any,
) -> Any:
    assertion = Assertion("_1", name, NOW, NOW, attributes=attributes or {})
    said = Saml(metadata="", **saml)
    return told("corp", ENTITY, IdentityProviderSpec(saml=said, groups=rules), said, assertion)


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        (NameId("7f3a", PERSISTENT), "7f3a"),
        (NameId("7f3a", PERSISTENT, ENTITY), "7f3a"),
        (NameId("7f3a", PERSISTENT, "https://behind.example.com"), "https://behind.example.com!7f3a"),
        (NameId("Ada@Example.org", EMAIL), "Ada@Example.org"),
    ],
)
def test_the_name_that_lasts_is_the_subject(name: NameId, subject: str):
    assert tell(name=name).subject == subject


@pytest.mark.parametrize(
    ("name", "saml", "cause"),
    [
        (NameId("_x", TRANSIENT), {}, "another at every sign-in"),
        (NameId("x" * 256, PERSISTENT), {}, "more than 255"),
        (NameId("a\u202eb", PERSISTENT), {}, "do not print"),
        (NameId("7f3a", PERSISTENT), {"subject": "uid"}, "no single value"),
    ],
)
def test_a_name_that_does_not_last_or_cannot_be_kept_is_refused(name: NameId, saml: dict[str, Any], cause: str):
    with pytest.raises(XmlRefusedError, match=cause):
        tell(name=name, **saml)


def test_an_attribute_of_two_values_names_nobody():
    with pytest.raises(XmlRefusedError, match="no single value"):
        tell({"uid": ("ada", "eve")}, subject="uid")
    assert tell({"email": ("ada@example.org", "eve@example.org")}).email == ""


def test_an_address_is_verified_only_where_the_document_says_so():
    attributes = {"email": ("ada@example.org",)}
    assert not tell(attributes).email_verified
    assert tell(attributes, email_verified=True).email_verified
    assert not tell({}, email_verified=True).email_verified
    assert tell({"mail": ("nobody",)}, email="mail").email == ""


def test_a_person_is_called_as_the_provider_says_or_by_their_address_or_name():
    assert tell({"uid": ("ada",)}, called="uid").called == "ada"
    assert tell({"email": ("lovelace@example.org",)}).called == "lovelace"
    assert tell().called == "7f3a"


def test_a_person_without_the_attribute_of_groups_has_none_of_them():
    assert tell({"groups": ("DBA Team",)}).groups == ("DBA Team",)
    assert tell({}).groups == ()


def test_where_no_group_is_mapped_nothing_is_said_of_groups():
    assert tell({"groups": ("DBA Team",)}, rules=GroupRules()).groups is None


def test_groups_that_the_provider_left_out_for_being_too_many_refuse_the_sign_in():
    with pytest.raises(XmlRefusedError, match="more groups than"):
        tell({OVERAGE: ("https://graph.example.com",)})
    assert tell({OVERAGE: ("https://graph.example.com",)}, rules=GroupRules()).groups is None


# ---------------------------------------------------------------- documents


def problems(saml: Saml, linking: Linking = NO_LINKING) -> list[tuple[str, str]]:
    spec = IdentityProviderSpec(saml=saml, linking=linking)
    document = IdentityProvider("assentry.dev/v1", model.Metadata("corp"), spec)
    found = saml_validation.check(World({"IdentityProvider": {"corp": document}}, NOW))
    return [(one.path, one.message) for one in found]


@pytest.mark.parametrize("where", ["https://id.example.com/metadata", "http://127.0.0.1:8080/m", metadata()])
def test_good_metadata_or_its_address_is_taken(where: str):
    assert problems(Saml(metadata=where)) == []


@pytest.mark.parametrize(
    ("saml", "path", "message"),
    [
        (Saml(metadata="http://id.example.com/metadata"), "metadata", "https://"),
        (Saml(metadata="file:///etc/passwd"), "metadata", "https://"),
        (Saml(metadata=""), "metadata", "https://"),
        (Saml(metadata="<a/>"), "metadata", "no metadata"),
        (Saml(metadata=metadata(keys="")), "metadata", "0 certificates"),
        (Saml(metadata="https://id.example.com/m", signed_by="x"), "signed_by", "PEM"),
    ],
)
def test_a_document_that_cannot_work_is_refused_when_it_is_written(saml: Saml, path: str, message: str):
    [(where, told_)] = problems(saml)
    assert where == f"$.spec.saml.{path}"
    assert message in told_


def test_linking_by_addresses_that_are_not_verified_is_refused_when_it_is_written():
    saml, linking = Saml(metadata="https://id.example.com/m"), Linking(by_email=("example.org",))
    [(where, _)] = problems(saml, linking)
    assert where == "$.spec.linking.by_email"
    assert problems(msgspec.structs.replace(saml, email_verified=True), linking) == []
