"""Watches every removal that a prune makes in any test: nothing that is alive may be among them.

It stands inside the fakes, sees each delete in the moment in which it takes effect, and knows nothing of how
the product decides. Alive is what a pod or something that makes pods uses, what bears the keep annotation,
and what a living linker of Service Connector works through.
"""

from __future__ import annotations

from typing import Any

from shared.clients.kube_uses import use_of
from shared.naming import connection_of, fold_id, secret_name, service_account_name
from shared.steps.base import ANNOTATION_KEEP
from tests.fakes.azure_world import AzureWorld, StoredCluster
from tests.fakes.journal import Call
from tests.fakes.state_store import InMemoryStateStore

ORACLES: list[LiveOracle] = []
"""Those of the test that is running; the fixture of ``tests/unit/conftest.py`` asks and empties it."""


class LiveOracle:
    """Looks at one app's removals."""

    def __init__(self, world: AzureWorld, store: InMemoryStateStore) -> None:
        self._world, self._store = world, store
        self.operation = ""
        """The operation whose step runs now."""
        self.removals = 0
        self.live: list[str] = []
        ORACLES.append(self)

    def look(self, call: Call) -> None:
        """A call is about to take effect."""
        check = {
            "clusters.delete": self._object,
            "identities.delete": self._identity,
            "identities.delete_credential": self._credential,
            "roles.delete": self._role,
        }.get(call.name)
        if check is not None and self._pruning():
            check(*call.arguments, **call.options)

    def _pruning(self) -> bool:
        key = f"op|{self.operation}"
        rows = {(row.partition, row.key): row for row in self._store.rows("connections")}
        row = rows.get((connection_of(self.operation), key))
        return row is not None and row.columns["kind"] == "prune"

    def _object(self, cluster_id: str, kind: str, namespace: str, name: str, *, uid: str, **_: Any) -> None:
        cluster = self._world.clusters.get(fold_id(cluster_id))
        there = cluster.objects.get((kind, namespace, name)) if cluster else None
        if cluster is None or there is None or there.uid != uid:
            return
        self.removals += 1
        shown = f"{kind} {namespace}/{name}"
        if ANNOTATION_KEEP in there.annotations:
            self.live.append(f"{shown} bears the keep annotation")
        self.live += [f"{shown} is used by {user}" for user in _users(cluster, kind, namespace, name)]
        for key, linker in self._world.linkers.items():
            names = {"Secret": secret_name(linker.name)}
            if linker.client_id:
                names["ServiceAccount"] = service_account_name(linker.client_id)
            here = key.startswith(f"{fold_id(cluster_id)}/") and linker.namespace == namespace
            if here and names.get(kind) == name:
                self.live.append(f"{shown} belongs to the living linker {linker.name}")

    def _identity(self, resource_id: str) -> None:
        there = self._world.identities.get(fold_id(resource_id))
        if there is not None:
            self.removals += 1
            self._unlinked(there.client_id, f"identity {resource_id}")

    def _credential(self, identity_id: str, name: str) -> None:
        there = self._world.credentials.get(fold_id(identity_id), {}).get(name)
        if there is None:
            return
        self.removals += 1
        if "aks-identity-binding" in name.lower():
            self.live.append(f"credential {name} is AKS's own")
        namespace, _, account = there.subject.removeprefix("system:serviceaccount:").partition(":")
        for key, linker in self._world.linkers.items():
            cluster = self._world.clusters.get(key.partition("/providers/microsoft.servicelinker/")[0])
            issued = cluster is not None and cluster.described.issuer == there.issuer
            same = (linker.namespace, f"sc-account-{linker.client_id}") == (namespace, account)
            if issued and same and linker.client_id:
                self.live.append(f"credential {name} carries the living linker {linker.name}")

    def _role(self, scope: str, name: str) -> None:
        there = self._world.assignments.get((fold_id(scope), name.lower()))
        if there is None:
            return
        self.removals += 1
        for linker in self._world.linkers.values():
            identity = self._world.identity_of(linker.client_id) if linker.client_id else None
            same = identity is not None and identity.principal_id == there.principal_id
            if same and fold_id(linker.target_id).startswith(fold_id(scope)):
                self.live.append(f"role {name} carries the living linker {linker.name}")

    def _unlinked(self, client_id: str, shown: str) -> None:
        for linker in self._world.linkers.values():
            if linker.client_id.lower() == client_id.lower():
                self.live.append(f"{shown} carries the living linker {linker.name}")


def _users(cluster: StoredCluster, kind: str, namespace: str, name: str) -> list[str]:
    bodies = [("Pod", body) for (place, _), body in cluster.pods.items() if place == namespace]
    bodies += [(what, body) for (place, what, _), body in cluster.workloads.items() if place == namespace]
    uses = [use for use in (use_of(what, body) for what, body in bodies) if use is not None]
    account = kind == "ServiceAccount"
    return [
        f"{use.kind} {use.name}"
        for use in uses
        if (use.service_account == name if account else name in use.secrets)
    ]
