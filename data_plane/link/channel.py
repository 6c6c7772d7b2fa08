"""gRPC channels to the control plane. The one place of the agent that sets up TLS towards it.

The server is known by the private CA and by the fixed name that the control plane's certificate carries, whatever
address it is reached at; that CA gives this name to nobody else.
"""

from __future__ import annotations

import grpc

from data_plane.link.identity import Identity

SERVER_NAME = "control-plane.assentry.internal"
_MOST_BYTES = 128 * 1024 * 1024  # an operation travels complete: twice the largest batch, and some more

_OPTIONS = (
    ("grpc.ssl_target_name_override", SERVER_NAME),
    ("grpc.max_receive_message_length", _MOST_BYTES),
    ("grpc.max_send_message_length", _MOST_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own: certificates may have changed
)


def enrolment(address: str, ca: bytes) -> grpc.aio.Channel:
    """Shows no certificate."""
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(root_certificates=ca), options=_OPTIONS)


def link(address: str, identity: Identity) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(
        root_certificates=identity.ca_certificates,
        private_key=identity.client_key,
        certificate_chain=identity.client_certificate,
    )
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
