"""The principals behind identities: what Entra asks, and how long a new one stays unknown."""

from __future__ import annotations

import time
from typing import Any

from sandbox.arm.store import Body, Store
from sandbox.topology import Topology

IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
CREDENTIALS = f"{IDENTITIES}/federatedIdentityCredentials"

DEFAULT_REPLICATION_SECONDS = 10.0
"""New principals were unknown to role assignments for 9 to 37 s in recorded traffic."""


class Directory:
    """Looks principals up in the stored identities."""

    def __init__(self, store: Store, topology: Topology) -> None:
        self._store = store
        self._topology = topology
        self.replication_seconds = DEFAULT_REPLICATION_SECONDS

    def identity(self, client_id: str) -> Body | None:
        """The identity resource of a client id."""
        wanted = client_id.lower()
        for body in self._store.of_type(IDENTITIES):
            if body["properties"]["clientId"].lower() == wanted:
                return body
        return None

    def knows(self, principal_id: str) -> bool:
        """Say whether the directory has replicated this principal by now."""
        wanted = principal_id.lower()
        if wanted == self._topology.owner_principal_id.lower():
            return True
        for body in self._store.of_type(IDENTITIES):
            if body["properties"]["principalId"].lower() == wanted:
                age_seconds = time.time() - float(self._store.note(body["id"]).get("created", 0.0))
                return age_seconds >= self.replication_seconds
        return any(
            str(body.get("identity", {}).get("principalId", "")).lower() == wanted
            for body in self._store.of_type("Microsoft.ContainerService/managedClusters")
        )

    def describe(self, client_id: str) -> dict[str, Any] | None:
        """What the Entra emulator needs to issue a token for an identity."""
        body = self.identity(client_id)
        if body is None:
            return None
        return {
            "clientId": body["properties"]["clientId"],
            "principalId": body["properties"]["principalId"],
            "resourceId": body["id"],
            "credentials": [
                {
                    "name": credential["name"],
                    "issuer": credential["properties"]["issuer"],
                    "subject": credential["properties"]["subject"],
                    "audiences": credential["properties"]["audiences"],
                    "createdAt": self._store.note(credential["id"]).get("written", 0.0),
                }
                for credential in self._store.of_type(CREDENTIALS, body["id"])
            ],
        }
