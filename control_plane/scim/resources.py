"""What is served: people and groups as far as they are kept here, and what this service can do.

Less than RFC 7643 §4 lists: what nobody here needs to know of a person (addresses, numbers, pictures, a password) is
accepted and forgotten, which is what `unknown=ignore` means. The other two tolerances are for requests as Microsoft
Entra sends them; a filter or path that names what is not kept is refused all the same.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from scim2_models import (
    URN,
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    ETag,
    Filter,
    Meta,
    Mutability,
    Pagination,
    Patch,
    Reference,
    Required,
    Resource,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)

from control_plane.scim.tables import ScimGroupRow, ScimUserRow

MOST_RESULTS: Final = 200  # of one page
MOST_OPERATIONS: Final = 1000  # of one PATCH


class Name(ComplexAttribute):
    formatted: str | None = None
    family_name: str | None = None
    given_name: str | None = None


class Email(ComplexAttribute):
    """Any text that is one address: directories have domains that no public rule allows."""

    value: str | None = None
    type: str | None = Field(None, examples=["work", "home", "other"])
    primary: bool | None = None


class GroupOfUser(ComplexAttribute):
    value: Annotated[str | None, Mutability.read_only, CaseExact.true] = None
    ref: Annotated[Reference[Group] | None, Mutability.read_only] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    display: Annotated[str | None, Mutability.read_only] = None
    type: Annotated[str | None, Mutability.read_only] = Field(None, examples=["direct"])


class User(Resource[Any]):
    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    name: Name | None = None
    display_name: str | None = None
    title: str | None = None
    emails: list[Email] | None = None
    active: bool | None = None
    groups: Annotated[list[GroupOfUser] | None, Mutability.read_only] = None


class Member(ComplexAttribute):
    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    ref: Annotated[Reference[User] | None, Mutability.immutable] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    type: Annotated[str | None, Mutability.immutable] = Field(None, examples=["User"])


class Group(Resource[Any]):
    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true] = None
    members: list[Member] | None = None


POLICY: Final = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)
CONFIG: Final = ServiceProviderConfig(
    patch=Patch(supported=True),
    bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
    filter=Filter(supported=True, max_results=MOST_RESULTS),
    change_password=ChangePassword(supported=False),
    sort=Sort(supported=True),
    etag=ETag(supported=True),
    authentication_schemes=[
        AuthenticationScheme(
            type=AuthenticationScheme.Type.oauthbearertoken,
            name="Bearer token",
            description="a token of this SCIM client; an admin makes it, two at a time, so that it can be exchanged",
            primary=True,
        )
    ],
    pagination=Pagination(cursor=False, index=True, default_page_size=100, max_page_size=MOST_RESULTS),
)
PROVIDER: Final = ScimProvider(models=(User, Group), config=CONFIG, policy=POLICY)

# `User` refers to `Group`, so it is whole only now; the first filter must not come before that.
for _model in (User, Group):
    _model.model_rebuild()


def meta_of(row: ScimUserRow | ScimGroupRow, url: str) -> Meta:
    """RFC 7643 §3.1. `url`: of the client."""
    kind = "User" if isinstance(row, ScimUserRow) else "Group"
    return Meta(
        resource_type=kind,
        created=row.created_at,
        last_modified=row.updated_at,
        location=f"{url}/{kind}s/{row.id}",
        version=f'W/"{row.version}"',
    )
