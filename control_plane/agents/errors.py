"""What can go wrong with agents: for the REST API as problems, for the link as ends of a stream."""

from __future__ import annotations

import enum

from control_plane.kit.errors import ConflictError, NotFoundError, UnavailableError


class AgentNotFoundError(NotFoundError):
    code = "agent-not-found"

    def __init__(self, name: str) -> None:
        super().__init__(f"no agent is named {name!r}")


class JoinTokenNotFoundError(NotFoundError):
    code = "join-token-not-found"

    def __init__(self, token_id: str) -> None:
        super().__init__(f"there is no unused join token {token_id!r}")


class AgentDisabledError(ConflictError):
    code, title = "agent-disabled", "The agent is disabled"


class NoAgentError(UnavailableError):
    """Nobody is there for an errand; nothing was done."""

    code, title = "no-agent", "No agent is there for this"


class ErrandFailedError(ConflictError):
    """The agent could not do it, or has not said that it is done."""

    code, title = "errand-failed", "The agent could not do it"


class AgentLeftError(ErrandFailedError):
    """Its stream ended first: how much of it was done is not known."""

    code = "agent-left"


class End(enum.Enum):
    """Why a stream ends; the servicer knows the gRPC status of each."""

    REFUSED = "refused"  # the agent's sessions end
    CONFUSED = "confused"  # the agent broke the contract
    REPLACED = "replaced"  # the same instance has connected again
    EXPIRED = "expired"  # its certificate has ended meanwhile


class StreamEndedError(Exception):
    """Ends one stream; `reason` is told to the agent."""

    def __init__(self, end: End, reason: str) -> None:
        super().__init__(reason)
        self.end = end
        self.reason = reason
