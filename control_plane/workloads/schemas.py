"""Workloads' sign-ins, client credentials and acting tokens as the API shows them. A secret is shown once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field

from control_plane.identities.schemas import ONCE, PlainText
from control_plane.kit.names import Name
from control_plane.workloads.acting import MadeActingToken
from control_plane.workloads.clients import MadeClientCredential, Wanted
from control_plane.workloads.tables import ActingTokenRow, ClientCredentialRow, WorkloadSignInRow

_TARGETS: Any = Field(
    default=["*"], min_length=1, max_length=100, description="what its tokens may be for", examples=[["orders"]]
)


class LinkOut(BaseModel):
    id: str = Field(description="empty: nobody who is known here", examples=["idn_3xk2cqz7q5n4h6mjv2ab"])
    name: str = Field(examples=["ada"])
    kind: str = Field(examples=["person"])


class WorkloadSignInOut(BaseModel):
    id: str = Field(examples=["wsi_3xk2cqz7q5n4h6mjv2ab"])
    identity: str = Field(examples=["deploy-bot"])
    method: Literal["trust", "key-pair", "secret"]
    trust: str = Field(description="the trust that let it in; else empty", examples=["shop-deploy"])
    client_credential_id: str = Field(description="what it signed in with itself; else empty", examples=[""])
    issuer: str = Field(examples=["https://token.actions.githubusercontent.com"])
    subject: str = Field(examples=["repo:acme/shop:ref:refs/heads/main"])
    claims: dict[str, str] = Field(description="which run it was", examples=[{"run_id": "1042"}])
    on_behalf_of: list[LinkOut] = Field(description="who stands behind it, the first one first")
    targets: list[str] = Field(examples=[["orders"]])
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: WorkloadSignInRow, identity: str) -> WorkloadSignInOut:
        left_out = {"identity", "on_behalf_of"}
        fields: dict[str, Any] = {name: getattr(row, name) for name in cls.model_fields if name not in left_out}
        return cls(identity=identity, on_behalf_of=[LinkOut(**one) for one in row.chain], **fields)


class _ClientCredentialIn(BaseModel):
    identity: Name = Field(description="a machine; it has an owner, a purpose and an end date", examples=["deploy-bot"])
    description: PlainText = Field(default="", examples=["the build server in the cellar"])
    targets: list[Name | Literal["*"]] = _TARGETS


class KeyPairIn(_ClientCredentialIn):
    jwk: dict[str, Any] = Field(
        description="the public half as a JWK: RSA of 2048 bits or more, EC or Ed25519",
        examples=[{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}],
    )
    ttl_days: int = Field(default=180, ge=1, le=365)

    @property
    def wanted(self) -> Wanted:
        return Wanted(timedelta(days=self.ttl_days), self.description, tuple(self.targets))


class ClientSecretIn(_ClientCredentialIn):
    ttl_days: int = Field(default=30, ge=1, le=90)

    @property
    def wanted(self) -> Wanted:
        return Wanted(timedelta(days=self.ttl_days), self.description, tuple(self.targets))


class ClientCredentialOut(BaseModel):
    id: str = Field(examples=["clc_3xk2cqz7q5n4h6mjv2ab"])
    identity: str = Field(examples=["deploy-bot"])
    kind: Literal["key-pair", "secret"]
    description: str
    thumbprint: str = Field(description="of a public key, RFC 7638; else empty")
    targets: list[str] = Field(examples=[["orders"]])
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, row: ClientCredentialRow, identity: str) -> ClientCredentialOut:
        left_out = {"identity", "secret"}
        fields: dict[str, Any] = {name: getattr(row, name) for name in cls.model_fields if name not in left_out}
        return cls(identity=identity, **fields)


class NewClientSecretOut(ClientCredentialOut):
    secret: str | None = Field(default=None, description=f"the `client_secret`; {ONCE}", examples=["assentry_c_…"])

    @classmethod
    def made(cls, made: MadeClientCredential) -> NewClientSecretOut:
        shown = ClientCredentialOut.of(made.row, made.identity)
        return cls(**shown.model_dump(), secret=made.secret.reveal() if made.secret else None)


class ActingTokenIn(BaseModel):
    actor: Name = Field(description="the machine that may act on your behalf", examples=["assistant"])
    ttl_seconds: int = Field(default=3600, ge=60, le=8 * 3600)


class ActingTokenOut(BaseModel):
    id: str = Field(examples=["act_3xk2cqz7q5n4h6mjv2ab"])
    actor: str = Field(examples=["assistant"])
    on_behalf_of: list[LinkOut] = Field(description="who stands behind it, yourself the last")
    targets: list[str] = Field(description="what may be had by it at the most", examples=[["*"]])
    created_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, row: ActingTokenRow, actor: str) -> ActingTokenOut:
        fields = {name: getattr(row, name) for name in ("id", "targets", "created_at", "expires_at")}
        return cls(actor=actor, on_behalf_of=[LinkOut(**one) for one in row.chain], **fields)


class NewActingTokenOut(ActingTokenOut):
    token: str | None = Field(description=f"the `subject_token` for that machine; {ONCE}", examples=["assentry_o_…"])

    @classmethod
    def made(cls, made: MadeActingToken) -> NewActingTokenOut:
        return cls(**ActingTokenOut.of(made.row, made.actor).model_dump(), token=made.token.reveal())
