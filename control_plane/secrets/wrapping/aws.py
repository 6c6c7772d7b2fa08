"""A wrapping key in AWS KMS: a symmetric key, by its ARN. Its material never leaves KMS and may be rotated there.

Who may use it is AWS's business: credentials come from where boto3 looks for them (environment, profile, role of the
machine). The context goes as a hash in KMS's encryption context, which CloudTrail keeps in clear text.
https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Any, Final

from control_plane.secrets.ports import WrappedKeyError, WrapperConfigurationError, WrapperUnavailableError
from control_plane.secrets.wrapping.sdk import ANSWER_SECONDS, CONNECT_SECONDS, KeptElsewhere, installed, library

_KEY: Final = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key/[A-Za-z0-9-]+")
_NOT_OURS: Final = {"InvalidCiphertextException", "IncorrectKeyException"}


class KmsKey:
    """Implements `sdk.Keeper`."""

    def __init__(self, arn: str, region: str) -> None:
        self._arn, self._region = arn, region

    @cached_property
    def _client(self) -> Any:
        config = library("botocore.config", "aws").Config(
            region_name=self._region,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"total_max_attempts": 2, "mode": "standard"},
        )
        return library("boto3", "aws").session.Session().client("kms", config=config)

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        return self._call("encrypt", "CiphertextBlob", context, Plaintext=data_key)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return self._call("decrypt", "Plaintext", context, CiphertextBlob=wrapped)

    def _call(self, operation: str, answer: str, context: bytes, **values: bytes) -> bytes:
        errors = library("botocore.exceptions", "aws")
        bound = {"assentry": hashlib.sha256(context).hexdigest()}
        try:
            answered = getattr(self._client, operation)(KeyId=self._arn, EncryptionContext=bound, **values)
        except errors.ClientError as error:
            code, text = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
            if code in _NOT_OURS:
                raise WrappedKeyError(f"aws-kms:{self._arn} did not wrap this, or not for this context") from None
            raise WrapperUnavailableError(f"aws-kms:{self._arn}: {operation} was refused: {code}: {text}") from None
        except errors.BotoCoreError as error:
            raise WrapperUnavailableError(f"aws-kms:{self._arn}: {error}") from None
        result: bytes = answered[answer]
        return result


def aws_kms(arn: str, where: str) -> KeptElsewhere:
    """Raises WrapperConfigurationError."""
    parts = _KEY.fullmatch(arn)
    if parts is None:
        example = "arn:aws:kms:eu-central-1:111122223333:key/…"
        raise WrapperConfigurationError(f"{where}: write the ARN of a key, not of an alias, which may move: {example}")
    installed("boto3", "aws")
    return KeptElsewhere(f"aws-kms:{arn}", KmsKey(arn, parts[1]))
