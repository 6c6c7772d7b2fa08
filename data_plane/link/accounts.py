"""Accounts of sessions as the control plane hears of them. Implements `credentials.ports.AccountReports`."""

from __future__ import annotations

from data_plane.credentials.ports import Lease
from data_plane.link import messages
from data_plane.link.journal import Journal


class LinkAccounts:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def leased(self, lease: Lease) -> None:
        self._journal.append(
            messages.AccountLeased(
                lease_id=lease.id,
                session_id=lease.session,
                target=lease.target,
                provider=lease.provider,
                principal=lease.principal,
                expires_at_ms=int(lease.expires_at * 1000),
            )
        )

    def ended(self, lease: Lease, outcome: str, detail: str) -> None:
        self._journal.append(messages.AccountEnded(lease.id, outcome, detail, lease.target, lease.principal))

    def alarm(self, kind: str, text: str) -> None:
        self._journal.append(messages.Notice(kind, text))
