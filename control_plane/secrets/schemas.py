"""Shapes of `/v1/secrets`. A value comes in once and goes out never."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_plane.kit.secret import Secret
from control_plane.secrets.rewrapping import Status
from control_plane.secrets.service import MOST_BYTES, Described


class SecretIn(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    value: SecretStr = Field(
        min_length=1,
        max_length=MOST_BYTES,
        description="a password, or a JSON object with username and password; it is never shown again",
        json_schema_extra={"writeOnly": True},
    )

    @property
    def secret(self) -> Secret:
        return Secret(self.value.get_secret_value())


class DeliveryOut(BaseModel):
    """The newest version that an agent was given."""

    agent: str = Field(examples=["demo"])
    target: str = Field(examples=["orders"])
    version: int = Field(examples=[3])
    at: datetime
    serves: bool = Field(description="false: it was given this version and serves the target no more; change the value")


class SecretOut(BaseModel):
    name: str = Field(examples=["orders-agent"])
    version: int = Field(examples=[3])
    created_at: datetime
    changed_at: datetime
    changed_by: str = Field(description="a person, or the agent that rotated it", examples=["admin"])
    wrapping_key: str = Field(examples=["aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd"])
    targets: list[str] = Field(description="those that use it", examples=[["orders"]])
    deliveries: list[DeliveryOut] = Field(description="newest first")

    @classmethod
    def of(cls, one: Described) -> SecretOut:
        serving = {(target.spec.agent, target.name) for target in one.targets}
        return cls(
            name=one.row.name,
            version=one.row.version,
            created_at=one.row.created_at,
            changed_at=one.row.changed_at,
            changed_by=one.row.changed_by,
            wrapping_key=one.row.wrapping_key,
            targets=[target.name for target in one.targets],
            deliveries=[
                DeliveryOut(
                    agent=row.agent,
                    target=row.target,
                    version=row.version,
                    at=row.at,
                    serves=(row.agent, row.target) in serving,
                )
                for row in one.deliveries
            ],
        )


class WrappingKeyOut(BaseModel):
    wrapping_key: str = Field(examples=["local:3f2a9c0d1e4b5a67"])
    configured: bool = Field(description="false: what is sealed with it cannot be opened")
    wraps: bool = Field(description="seals what is written from now on")
    beside: bool = Field(description="it lies in the state directory: a copy of that opens what it seals")
    secrets: int = Field(description="how many are sealed with it; 0 and no files: it may be removed")
    files: int = Field(description="keys of this control plane itself, in files, that are sealed with it")


class RewrapOut(BaseModel):
    wrapping_key: str
    asked_at: datetime
    asked_by: str
    done_at: datetime | None
    problem: str = Field(description="why it does not go on; it is tried again", examples=[""])


class SealingOut(BaseModel):
    keys: list[WrappingKeyOut] = Field(description="the one that wraps first")
    rewrap: RewrapOut | None = Field(description="the last time that it was asked for")

    @classmethod
    def of(cls, status: Status) -> SealingOut:
        asked = status.asked
        return cls(
            keys=[
                WrappingKeyOut(
                    wrapping_key=one.wrapping_key,
                    configured=one.configured,
                    wraps=one.wraps,
                    beside=one.beside,
                    secrets=one.secrets,
                    files=one.files,
                )
                for one in status.keys
            ],
            rewrap=None if asked is None else RewrapOut.model_validate(asked, from_attributes=True),
        )
