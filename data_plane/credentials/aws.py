"""AWS: secrets of Secrets Manager, and sign-in tokens of RDS and Aurora (IAM database authentication).

Who the agent is there is AWS's business: credentials come from where boto3 looks for them (role of the machine or pod,
profile, environment).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from data_plane.credentials.iam import address
from data_plane.credentials.ports import CredentialError
from data_plane.credentials.settings import AwsSecret, RdsIam
from data_plane.credentials.threads import ANSWER_SECONDS, CONNECT_SECONDS, in_thread, library
from data_plane.policy.model import TargetSpec
from data_plane.runtime.secret import Secret


def _client(service: str, region: str) -> Any:
    config = library("botocore.config", "aws").Config(
        region_name=region,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        retries={"total_max_attempts": 2, "mode": "standard"},
    )
    return library("boto3", "aws").session.Session().client(service, config=config)


class ManagedSecret:
    """Implements `ports.SecretStore` over Secrets Manager; the current version is asked for at each sign-in.

    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html"""

    writable = True

    def __init__(self, place: AwsSecret) -> None:
        self._place = place

    @cached_property
    def _manager(self) -> Any:
        return _client("secretsmanager", self._place.region)

    async def read(self) -> Secret:
        answer = await in_thread(lambda: self._asked("get_secret_value"), str(self))
        text = answer.get("SecretString")
        if not text:
            raise CredentialError(f"{self} holds bytes, not text: store username and password as JSON")
        return Secret(text)

    async def write(self, value: Secret) -> None:
        await in_thread(lambda: self._asked("put_secret_value", SecretString=value.reveal()), str(self))

    def __str__(self) -> str:
        return f"AWS secret {self._place.id} in {self._place.region}"

    def _asked(self, operation: str, **values: str) -> Any:
        errors = library("botocore.exceptions", "aws")
        try:
            return getattr(self._manager, operation)(SecretId=self._place.id, **values)
        except errors.ClientError as error:
            said = error.response["Error"]
            why = f"{operation} was refused: {said.get('Code', '')}: {said.get('Message', '')}"
            raise CredentialError(f"{self}: {why}") from None
        except errors.BotoCoreError as error:
            raise CredentialError(f"{self}: {error}") from None


class RdsTokens:
    """Implements `iam.Tokens`: made here, by signing; AWS is asked only for the credentials to sign with.

    https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html"""

    def __init__(self, place: RdsIam, username: str) -> None:
        self._region, self._username = place.region, username

    @cached_property
    def _rds(self) -> Any:
        return _client("rds", self._region)

    def new(self, spec: TargetSpec) -> Secret:
        errors = library("botocore.exceptions", "aws")
        host, port = address(spec)
        try:
            token: str = self._rds.generate_db_auth_token(
                DBHostname=host, Port=port, DBUsername=self._username, Region=self._region
            )
        except errors.BotoCoreError as error:
            raise CredentialError(f"no sign-in token for RDS: {error}") from None
        return Secret(token)

    def __str__(self) -> str:
        return f"AWS in {self._region}"
