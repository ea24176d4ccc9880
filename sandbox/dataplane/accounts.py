"""Which Azurite account holds the blobs of which emulated storage account.

Azurite's accounts are fixed when it starts, storage accounts come and go. Each living account gets
a spare one on first use; an account that was deleted and made again gets a fresh, empty one.
"""

from __future__ import annotations

import json
from pathlib import Path

from sandbox.dataplane.access import Resource
from sandbox.topology import Topology


class PoolEmptyError(RuntimeError):
    """More storage accounts were used than Azurite was started with."""


class AccountPool:
    """The assignment, kept in ``state_dir`` so that a restarted data plane finds its blobs."""

    def __init__(self, topology: Topology) -> None:
        self._file = Path(topology.state_dir) / "blob-accounts.json"
        self._pool = topology.azurite_pool
        self._assigned: dict[str, str] = {}
        if self._file.exists():
            self._assigned = json.loads(self._file.read_text())

    def known(self, storage_account: Resource) -> str:
        """Name of the Azurite account behind ``storage_account``, empty if nobody has used it yet."""
        return self._assigned.get(_owner(storage_account), "")

    def account_of(self, storage_account: Resource) -> str:
        """Name of the Azurite account behind ``storage_account``.

        Raises:
            PoolEmptyError: Every spare account has an owner.
        """
        owner = _owner(storage_account)
        if owner not in self._assigned:
            taken = set(self._assigned.values())
            free = next((name for name in self._pool if name not in taken), None)
            if free is None:
                raise PoolEmptyError(f"all {len(self._pool)} spare Azurite accounts are in use")
            self._assigned[owner] = free
            self._save()
        return self._assigned[owner]

    def _save(self) -> None:
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps(self._assigned, indent=1))
        draft.replace(self._file)


def _owner(storage_account: Resource) -> str:
    return f"{storage_account.id.lower()}@{storage_account.incarnation}"
