"""Google Cloud SQL: IAM database authentication, an OAuth access token in place of the password.

Who the agent is there is Google's business: application default credentials. The database user of a service account is
its address without `.gserviceaccount.com`. https://cloud.google.com/sql/docs/postgres/iam-authentication
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from data_plane.credentials.ports import CredentialError
from data_plane.credentials.threads import ANSWER_SECONDS, library
from data_plane.policy.model import TargetSpec
from data_plane.runtime.secret import Secret

_SCOPE: Final = "https://www.googleapis.com/auth/sqlservice.login"


def default_credentials() -> Any:
    return library("google.auth", "gcp").default(scopes=[_SCOPE])[0]


class CloudSqlTokens:
    """Implements `iam.Tokens`. A token is used until it is about to end, as Google's library tells."""

    def __init__(self, credentials: Callable[[], Any] = default_credentials) -> None:
        self._find = credentials
        self._refreshing = threading.Lock()

    @cached_property
    def _credentials(self) -> Any:
        return self._find()

    @cached_property
    def _request(self) -> Callable[..., Any]:
        """Google's own would wait two minutes."""
        request = library("google.auth.transport.requests", "gcp").Request()
        return lambda *given, **named: request(*given, **named | {"timeout": ANSWER_SECONDS})

    def new(self, spec: TargetSpec) -> Secret:
        del spec
        errors = library("google.auth.exceptions", "gcp")
        try:
            with self._refreshing:
                if not self._credentials.valid:
                    self._credentials.refresh(self._request)
                return Secret(self._credentials.token)
        except errors.GoogleAuthError as error:
            raise CredentialError(f"no sign-in token for Cloud SQL: {error.args[0]}") from None

    def __str__(self) -> str:
        return "Google Cloud"
