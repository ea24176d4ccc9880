"""What goes wrong outside of Mooring: things vanish, clusters are away, pods start, others write."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any, Protocol

from shared.naming import fold_id, secret_name, service_account_name
from shared.ports import Linker
from tests.simulation.world import (
    ACCOUNTS,
    CLUSTERS,
    LASTING,
    NAMESPACES,
    PARTS,
    PROVIDED,
    VAULTS,
    Outward,
    SimulatedWorld,
    updating,
)


class Script(Protocol):
    """The run's calendar."""

    world: SimulatedWorld
    outward: Outward
    random: random.Random

    @property
    def wanted(self) -> list[Any]: ...
    def at(self, seconds: float, act: Callable[[], object]) -> None: ...
    def lose(self, resource_id: str, *, punctual: bool = False) -> None: ...
    def event(self, resource_id: str, *, written: bool = False, punctual: bool = False) -> None: ...
    def number(self) -> int: ...


class Accidents:
    """Each method puts one accident, and its end, on the calendar."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.world, self.outward, self.random = script.world, script.outward, script.random
        self.linkers: list[str] = []
        """Ids of Service Connector's connections."""

    def all(self) -> list[Callable[[float], None]]:
        return [
            *[self._target_goes] * 2,
            self._part_goes,
            self._identity_goes,
            self._identity_goes,
            self._credential_goes,
            self._cluster_goes,
            self._cluster_updates,
            self._cluster_is_away,
            *[self._namespace_goes] * 2,
            *[self._pod_runs] * 2,
            *[self._others_write] * 2,
            self._foreign_secret,
        ]

    def _target_goes(self, at: float) -> None:
        target = self.random.choice((*ACCOUNTS, *VAULTS))
        self._script.at(at, lambda: self._script.lose(target))
        if self.random.random() < 0.5:
            self._script.at(at + self.random.uniform(30.0, 600.0), lambda: self.world.furnish_target(target))

    def _part_goes(self, at: float) -> None:
        account = self.random.choice(ACCOUNTS)
        self._script.at(at, lambda: self._script.lose(PARTS[account]))
        if self.random.random() < 0.5:
            again = at + self.random.uniform(30.0, 600.0)
            self._script.at(again, lambda: self._make_part(account))

    def _make_part(self, account: str) -> None:
        if fold_id(account) in self.world.resources:
            self.world.furnish_part(account)

    def _identity_goes(self, at: float) -> None:
        def act() -> None:
            ours = [
                one.resource_id for one in self.world.identities.values() if one.resource_id not in PROVIDED
            ]
            if ours:
                self._script.lose(self.random.choice(ours))

        self._script.at(at, act)

    def _credential_goes(self, at: float) -> None:
        def act() -> None:
            places = [
                (key, name)
                for key, names in self.world.credentials.items()
                for name in names
                if name.startswith("mooring")
            ]
            if not places:
                return
            key, name = self.random.choice(places)
            self.world.touch(f"{key}|{name}")
            self._script.event(
                f"{self.world.identities[key].resource_id}/federatedIdentityCredentials/{name}"
            )
            del self.world.credentials[key][name]

        self._script.at(at, act)

    def _cluster_goes(self, at: float) -> None:
        cluster_id = CLUSTERS[1]
        self._script.at(at, lambda: self._script.lose(cluster_id))
        if self.random.random() < 0.5:
            self._script.at(
                at + self.random.uniform(60.0, 600.0),
                lambda: self.world.add_cluster(cluster_id, namespaces=(*NAMESPACES, *LASTING)),
            )

    def _cluster_updates(self, at: float) -> None:
        cluster_id = self.random.choice(CLUSTERS)
        self._script.at(at, lambda: updating(self.world, cluster_id, "Updating"))
        self._script.at(
            at + self.random.uniform(30.0, 400.0), lambda: updating(self.world, cluster_id, "Succeeded")
        )

    def _cluster_is_away(self, at: float) -> None:
        cluster_id = self.random.choice(CLUSTERS)
        self._script.at(at, lambda: self._reach(cluster_id, reachable=False))
        self._script.at(
            at + self.random.uniform(10.0, 300.0), lambda: self._reach(cluster_id, reachable=True)
        )

    def _reach(self, cluster_id: str, *, reachable: bool) -> None:
        cluster = self.world.clusters.get(fold_id(cluster_id))
        if cluster is not None:
            cluster.reachable = reachable

    def _namespace_goes(self, at: float) -> None:
        """With all that is in it; no event tells of that."""
        cluster_id, namespace = self.random.choice(CLUSTERS), self.random.choice(NAMESPACES)
        lasts = self.random.uniform(20.0, 300.0)

        def act() -> None:
            if self.world.lose_namespace(cluster_id, namespace):
                self._script.at(lasts, lambda: self.world.furnish_namespace(cluster_id, namespace))

        self._script.at(at, act)

    def _bring_back(self, cluster_id: str, namespace: str) -> None:
        """Whoever writes into a namespace that has gone makes it again."""
        cluster = self.world.clusters.get(fold_id(cluster_id))
        if cluster is not None and namespace not in cluster.namespaces:
            self.world.furnish_namespace(cluster_id, namespace)

    def _pod_runs(self, at: float) -> None:
        def act() -> None:
            places = [
                (cluster_id, key)
                for cluster_id, cluster in self.world.clusters.items()
                if cluster.reachable
                for key in cluster.objects
            ]
            if not places:
                return
            cluster_id, (kind, namespace, name) = self.random.choice(places)
            pod = f"pod{self._script.number()}"
            spec: dict[str, Any] = {"containers": [{"envFrom": [{"secretRef": {"name": name}}]}]}
            if kind == "ServiceAccount":
                spec = {"serviceAccountName": name, "containers": []}
            self.outward.clusters.put_pod(cluster_id, namespace, pod, spec)
            self.world.born[fold_id(cluster_id), namespace, pod] = self.world.loop.time()

        self._script.at(at, act)

    def _others_write(self, at: float) -> None:
        def act() -> None:
            keys = list(self.world.identities)
            if keys:
                key = self.random.choice(keys)
                self.outward.identities.busy.add(key)
                self._script.at(
                    self.random.uniform(1.0, 30.0), lambda: self.outward.identities.busy.discard(key)
                )

        for _ in range(4):
            self._script.at(at, act)
            at += self.random.uniform(1.0, 60.0)

    def _foreign_secret(self, at: float) -> None:
        wanted = self.random.choice(self._script.wanted)
        name = f"sc-{wanted.name.replace('-', '')}-secret"

        def act() -> None:
            cluster = self.world.clusters.get(fold_id(wanted.cluster_id))
            if cluster and cluster.reachable and ("Secret", wanted.namespace, name) not in cluster.objects:
                self._bring_back(wanted.cluster_id, wanted.namespace)
                self.outward.clusters.put_object(wanted.cluster_id, "Secret", wanted.namespace, name)
                born = (fold_id(wanted.cluster_id), wanted.namespace, name)
                self.world.born[born] = self.world.loop.time()

        self._script.at(at * 0.3, act)

    def linker(self, at: float) -> None:
        """A Service Connector connection: made, seen alive, removed; its objects stay behind.

        Its objects may come later than the event: then the product looks again and again.
        """
        number = self._script.number()
        cluster_id, namespace = self.random.choice(CLUSTERS), self.random.choice(NAMESPACES)
        linker_id = f"{cluster_id}/providers/Microsoft.ServiceLinker/linkers/theirs{number}"
        linker = Linker(
            resource_id=linker_id,
            name=f"theirs{number}",
            namespace=namespace,
            target_id=f"{ACCOUNTS[0]}/blobServices/default",
            client_id=self.world.guid(),
            client_type="python",
            provisioning_state="Succeeded",
        )
        self.linkers.append(linker_id)

        def act() -> None:
            self._link(cluster_id, dataclasses.replace(linker, client_id=self._client_id()))

        self._script.at(at, act)
        gone = at + self.random.uniform(100.0, 700.0)
        if self.random.random() < 0.3:
            # A word that is not true (any more): somebody made it again before anybody looked.
            self._script.at(self.random.uniform(at + 60.0, gone), lambda: self._script.event(linker_id))
        self._script.at(gone, lambda: self._script.lose(linker_id))

    def _client_id(self) -> str:
        """Whose identity a linker works through: a team's, one that Mooring made, or one of nobody here."""
        ours = [one.client_id for one in self.world.identities.values() if one.resource_id not in PROVIDED]
        provided = self.world.identities[fold_id(PROVIDED[0])].client_id
        return self.random.choice((provided, provided, self.world.guid(), *ours[:1]))

    def _link(self, cluster_id: str, linker: Linker) -> None:
        namespace = linker.namespace
        if fold_id(cluster_id) not in self.world.clusters:
            return
        key = fold_id(linker.resource_id)
        self.world.linkers[key] = linker
        self.world.linked.add(linker.client_id)
        through = (one for one, there in self.world.identities.items() if there.client_id == linker.client_id)
        self.world.linked_identities.update(through)
        self.world.born[key] = self.world.loop.time()
        self.world.add_resource(linker.resource_id)
        self._script.event(linker.resource_id, written=True)

        def objects() -> None:
            cluster = self.world.clusters.get(fold_id(cluster_id))
            if cluster is None or key not in self.world.linkers:
                return
            was, cluster.reachable = cluster.reachable, True
            self._bring_back(cluster_id, namespace)
            self.outward.clusters.put_object(cluster_id, "Secret", namespace, secret_name(linker.name))
            account = ("ServiceAccount", namespace, service_account_name(linker.client_id))
            if account not in cluster.objects:
                self.outward.clusters.put_object(cluster_id, *account)
            cluster.reachable = was

        self._script.at(self.random.uniform(5.0, 90.0) if self.random.random() < 0.6 else 0.0, objects)
