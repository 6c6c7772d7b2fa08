"""Where a credential is good: at which targets, and for clients in which networks. Pure.

Networks are CIDR, IPv4 or IPv6, kept in the one form in which agents compare them. A client's address is what the agent
sees: behind address translation or a proxy that is the translated one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final, Self

import msgspec

from control_plane.kit.errors import FieldProblem, InvalidError

EVERY_TARGET: Final = "*"
MOST_NETWORKS: Final = 16
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Binding(msgspec.Struct, frozen=True):
    """`networks` empty: anywhere."""

    targets: tuple[str, ...] = (EVERY_TARGET,)
    networks: tuple[str, ...] = ()

    @classmethod
    def of(cls, targets: Sequence[str], networks: Sequence[str] = ()) -> Self:
        """As somebody wrote it; what says the same twice is kept once. Raises InvalidError."""
        problems: list[FieldProblem] = []
        found: dict[str, None] = {}
        for number, text in enumerate(networks):
            try:
                found[str(_network(text))] = None
            except ValueError as error:
                problems.append(FieldProblem(path=f"$.networks[{number}]", message=str(error)))
        if problems:
            raise InvalidError("the networks cannot be understood", problems)
        return cls(tuple(dict.fromkeys(targets)), tuple(found))

    @property
    def everywhere(self) -> bool:
        """Whether it is good at every target."""
        return EVERY_TARGET in self.targets


def _network(text: str) -> _Network:
    """Raises ValueError, which says what to write."""
    try:
        interface = ipaddress.ip_interface(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no network: write 10.0.0.0/8, 2001:db8::/32 or one address") from None
    network: _Network = interface.network
    if interface.ip != network.network_address:
        raise ValueError(f"{text!r} has bits beyond its prefix: write {network}, or one address without a prefix")
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"{text!r} is an IPv4 network: write it as one")
    return network
