"""Identities, groups, sign-ins and credentials as the API shows them. A secret is shown once, when it is made."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, Field, SecretStr, StringConstraints, model_validator

from control_plane.identities.binding import MOST_NETWORKS, Binding
from control_plane.identities.domain import Group, Identity, ReviewScope
from control_plane.identities.tables import CredentialRow, ServiceAccountKeyRow
from control_plane.kit.access import Principal, Role
from control_plane.kit.names import Name
from control_plane.kit.secret import Secret

PlainText = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=255)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=256, examples=["correct horse battery staple"])]
SlackUser = Annotated[str, Field(pattern=r"^([UW][A-Z0-9]{2,20})?$", examples=["U012AB3CD"])]  # of one person only
ONCE = "shown this once; null when the request was repeated: if nobody got it, revoke it by its id and make another"


class IdentityOut(BaseModel):
    id: str = Field(examples=["idn_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["ada"])
    kind: Literal["person", "machine"]
    email: str = Field(examples=["ada@example.org"])
    owner: str = Field(description="of a machine: the person who answers for it; else empty", examples=[""])
    slack_user_id: str = Field(description="who this person is in Slack; empty: not told", examples=["U012AB3CD"])
    external_id: str = Field(description="what another system calls this person; empty: not told", examples=["e1042"])
    disabled: bool
    able: bool = Field(description="false: disabled, or a machine whose owner is")
    groups: list[str] = Field(examples=[["dba"]])
    purpose: str = Field(description="what a machine is there for", examples=["migrates the orders database"])
    ends_at: datetime | None = Field(description="then it is ended; null: no such day")
    source: str = Field(description="who made it: empty: this control plane", examples=["scim:corp"])
    version: int = Field(description="also the ETag", examples=[1])

    @classmethod
    def of(cls, identity: Identity) -> IdentityOut:
        return cls(
            id=identity.id,
            name=identity.name,
            kind=identity.kind,
            email=identity.email,
            owner=identity.owner,
            slack_user_id=identity.slack_user_id,
            external_id=identity.external_id,
            disabled=identity.disabled,
            able=identity.able,
            groups=list(identity.groups),
            purpose=identity.purpose,
            ends_at=identity.ends_at,
            source=identity.source,
            version=identity.version,
        )


class IdentityIn(BaseModel):
    name: Name = Field(examples=["deploy-bot"])
    kind: Literal["person", "machine"] = Field(examples=["machine"])
    email: PlainText = Field(default="", examples=["ada@example.org"])
    owner: Name | Literal[""] = Field(default="", examples=["ada"])
    slack_user_id: SlackUser = ""
    external_id: PlainText = Field(default="", examples=["e1042"])
    purpose: PlainText = Field(
        default="",
        description="what a machine is there for; a machine has one",
        examples=["migrates the orders database"],
    )
    ends_at: AwareDatetime | None = Field(
        default=None, description="then it is ended; left out: of a machine a year from now"
    )

    @model_validator(mode="after")
    def _is_for_something(self) -> Self:
        if self.kind == "machine" and not self.purpose.strip():
            raise ValueError("a machine has a purpose: say what it is there for")
        return self


class IdentityChange(BaseModel):
    """What is left out stays as it is."""

    email: PlainText | None = None
    owner: Name | None = Field(default=None, examples=["ada"])
    disabled: bool | None = None
    slack_user_id: SlackUser | None = None
    external_id: PlainText | None = Field(default=None, examples=["e1042"])
    purpose: PlainText | None = None
    ends_at: AwareDatetime | None = Field(
        default=None, description="null, if it is sent: no such day any more; not of a machine"
    )


class PasswordIn(BaseModel):
    password: Password | None = Field(default=None, description="left out: one is made up")


class PasswordOut(BaseModel):
    password: str | None = Field(description="what was made up, shown this once; null: as it was given")


class ReviewScopeIO(BaseModel):
    """A target is in it when its environment is one of these and it has all of the labels."""

    environments: list[Annotated[str, Field(min_length=1, max_length=255)]] = Field(
        default=[], max_length=64, description="empty: all", examples=[["production"]]
    )
    labels: dict[str, str] = Field(default={}, max_length=64, examples=[{"team": "shop"}])

    @property
    def scope(self) -> ReviewScope:
        return ReviewScope(tuple(self.environments), self.labels)


class GroupIn(BaseModel):
    roles: list[Role] = Field(max_length=16, examples=[["reviewer"]])
    members: list[Name] = Field(max_length=10_000, examples=[["ada", "grace"]])
    reviews: list[ReviewScopeIO] = Field(
        default=[],
        max_length=64,
        description="where its members review, if it makes them reviewers; empty: everywhere",
    )


class GroupOut(BaseModel):
    name: str = Field(examples=["dba"])
    roles: list[str] = Field(examples=[["reviewer"]])
    members: list[str] = Field(description="as written here", examples=[["ada", "grace"]])
    pushed: list[str] = Field(description="members that providers say", examples=[["lin"]])
    reviews: list[ReviewScopeIO] = Field(description="where its members review; empty: everywhere")
    version: int = Field(description="also the ETag", examples=[1])

    @classmethod
    def of(cls, group: Group) -> GroupOut:
        reviews = [ReviewScopeIO(environments=list(one.environments), labels=one.labels) for one in group.reviews]
        return cls(
            name=group.name,
            roles=list(group.roles),
            members=list(group.members),
            pushed=list(group.pushed),
            reviews=reviews,
            version=group.version,
        )


class SignInIn(BaseModel):
    name: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(examples=["ada"])
    password: Password
    channel: Literal["console", "cli"] = Field(
        default="cli",
        description="console: a cookie is set and unsafe requests need the CSRF token; cli: a bearer token",
    )


class PrincipalOut(BaseModel):
    """Who is signed in."""

    id: str = Field(examples=["idn_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["ada"])
    kind: Literal["person", "machine"]
    groups: list[str] = Field(examples=[["dba"]])
    permissions: list[str] = Field(examples=[["review", "self"]])
    csrf_token: str | None = Field(description="for the header X-CSRF-Token; null: not needed")
    authenticated_at: datetime = Field(description="when this sign-in last proved who it is")

    @classmethod
    def of(cls, principal: Principal) -> PrincipalOut:
        return cls(
            id=principal.identity,
            name=principal.name,
            kind=principal.kind,
            groups=list(principal.groups),
            permissions=sorted(principal.permissions),
            csrf_token=principal.csrf or None,
            authenticated_at=principal.authenticated_at,
        )


class SignInOut(BaseModel):
    name: str = Field(examples=["ada"])
    token: str | None = Field(
        description="for `Authorization: Bearer`; null when a cookie was set", examples=["assentry_s_…"]
    )
    csrf_token: str | None = Field(description="for the header X-CSRF-Token with the cookie")
    expires_at: datetime


class ReauthenticateIn(BaseModel):
    method: Literal["password", "security-key"] = "password"
    password: Password | None = None
    evidence: dict[str, Any] | None = Field(
        default=None, description="of a security key: `challenge_id` and `credential`, see /v1/security-keys/challenges"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.password is None) == (self.evidence is None) or (self.password is None) != (self.method != "password"):
            raise ValueError("`password` goes with the method password, `evidence` with security-key")
        return self

    @property
    def proof(self) -> Secret:
        given = json.dumps(self.evidence) if self.password is None else self.password.get_secret_value()
        return Secret(given)


class ReauthenticatedOut(BaseModel):
    authenticated_at: datetime = Field(description="decisions that need a fresh sign-in count from here")


class PasswordChange(BaseModel):
    old: Password
    new: Password


class BoundIn(BaseModel):
    """Where and how long a credential is good."""

    targets: list[Name | Literal["*"]] = Field(
        default=["*"], min_length=1, max_length=100, description="names, or `*` for every target", examples=[["orders"]]
    )
    networks: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        default=[],
        max_length=MOST_NETWORKS,
        description="CIDR: where its client must be, as the agent sees it; empty: anywhere",
        examples=[["10.0.0.0/8"]],
    )
    ttl_seconds: int = Field(default=3600, ge=60, le=12 * 3600)

    @property
    def binding(self) -> Binding:
        """Raises InvalidError."""
        return Binding.of(self.targets, self.networks)


class TokenIn(BoundIn):
    pass


class TokenOut(BaseModel):
    credential_id: str = Field(examples=["crd_3xk2cqz7q5n4h6mjv2ab"])
    token: str | None = Field(description=f"the password for the target; {ONCE}", examples=["eyJhbGciOiJFZERTQSJ9…"])
    expires_at: datetime


class CertificateIn(BoundIn):
    csr: str = Field(
        max_length=16_384,
        description="PKCS#10 as PEM; only its key is used",
        examples=["-----BEGIN CERTIFICATE REQUEST-----\n…\n-----END CERTIFICATE REQUEST-----\n"],
    )


class CertificateOut(BaseModel):
    credential_id: str = Field(examples=["crd_3xk2cqz7q5n4h6mjv2ab"])
    certificate: str = Field(description="PEM chain, the client's first")
    ca: str = Field(description="PEM; verifies the agent's certificate")
    expires_at: datetime


class CredentialOut(BaseModel):
    id: str = Field(examples=["crd_3xk2cqz7q5n4h6mjv2ab"])
    identity_id: str = Field(examples=["idn_3xk2cqz7q5n4h6mjv2ab"])
    kind: Literal["token", "certificate", "ssh-certificate"]
    targets: list[str] = Field(examples=[["orders"]])
    networks: list[str] = Field(description="where its client must be; empty: anywhere", examples=[["10.0.0.0/8"]])
    issued_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = Field(description="when a session was last opened with it")

    @classmethod
    def of(cls, row: CredentialRow) -> CredentialOut:
        fields: dict[str, Any] = {name: getattr(row, name) for name in cls.model_fields}
        return cls(**fields)


class ServiceAccountKeyIn(BaseModel):
    identity: Name = Field(description="a machine", examples=["deploy-bot"])
    description: PlainText = Field(default="", examples=["CI of the shop"])
    ttl_days: int = Field(default=90, ge=1, le=365)


class ServiceAccountKeyOut(BaseModel):
    id: str = Field(examples=["key_3xk2cqz7q5n4h6mjv2ab"])
    identity: str = Field(examples=["deploy-bot"])
    description: str = Field(examples=["CI of the shop"])
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: ServiceAccountKeyRow, owner: str) -> ServiceAccountKeyOut:
        names = ("id", "description", "created_at", "expires_at", "revoked_at")
        return cls(identity=owner, **{name: getattr(row, name) for name in names})


class NewServiceAccountKeyOut(ServiceAccountKeyOut):
    key: str | None = Field(description=f"for `Authorization: Bearer`; {ONCE}", examples=["assentry_k_…"])
