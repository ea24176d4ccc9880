"""The clusters of one sandbox: made, found, kept over restarts, removed."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from sandbox.kube.authorization import Authorizer
from sandbox.kube.bootstrap import cluster_contents
from sandbox.kube.clock import timestamp
from sandbox.kube.controllers import Controllers
from sandbox.kube.deletion import Deletion
from sandbox.kube.registry import Registry
from sandbox.kube.resources import DEFINED, DEFINITIONS
from sandbox.kube.store import Key, Store, new_uid
from sandbox.kube.tokens import Issuer, new_signing_key
from sandbox.topology import Topology

SAVE_DELAY_SECONDS = 0.1
"""Writes that fall into this time are saved together."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""Names of managed clusters: Azure's rule, letters, digits, hyphens and underscores."""


class Cluster:
    """One API server's state and operations.

    Args:
        name: The managed cluster's name.
        incarnation: New for each making of the cluster; part of its issuer.
        issuer_url: Ends with a slash.
        signing_key: Of the issuer, PEM.
        file: Where the cluster is kept.
    """

    def __init__(self, name: str, incarnation: str, issuer_url: str, signing_key: str, file: Path) -> None:
        self.name = name
        self.incarnation = incarnation
        self._signing_key = signing_key
        self._file = file
        self._save_task: asyncio.TimerHandle | None = None
        self.store = Store(self._changed)
        self.issuer = Issuer(issuer_url, signing_key, self.store)
        self.authorizer = Authorizer(self.store)
        controllers = Controllers(self.store)
        self.registry = Registry(self.store, controllers)
        self.deletion = Deletion(self.store, controllers)
        self._controllers = controllers

    @property
    def absent(self) -> frozenset[str]:
        """Groups of custom resources that nobody has defined here."""
        return frozenset(
            group for group, name in DEFINED.items() if self.store.get(Key(DEFINITIONS, "", name)) is None
        )

    def fill(self) -> None:
        """Put into a new cluster what every cluster has."""
        for key, content in cluster_contents():
            content["metadata"] |= {"uid": new_uid(), "creationTimestamp": timestamp()}
            self.store.put(key, content)
            self._controllers.after_write(key)

    def _changed(self) -> None:
        if self._save_task is None:
            self._save_task = asyncio.get_running_loop().call_later(SAVE_DELAY_SECONDS, self.save)

    def save(self) -> None:
        """Write the snapshot; the file is replaced as a whole or not at all."""
        self.forget_save()
        snapshot = {
            "name": self.name,
            "incarnation": self.incarnation,
            "issuer": self.issuer.url,
            "signing_key": self._signing_key,
            "store": self.store.snapshot(),
        }
        part = self._file.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(json.dumps(snapshot))
        part.replace(self._file)

    def save_if_changed(self) -> None:
        """Write what a scheduled save would have written."""
        if self._save_task is not None:
            self.save()

    def forget_save(self) -> None:
        """Drop a scheduled save."""
        if self._save_task is not None:
            self._save_task.cancel()
            self._save_task = None

    @classmethod
    def load(cls, file: Path) -> Cluster:
        """Read a saved cluster."""
        saved: dict[str, Any] = json.loads(file.read_text())
        cluster = cls(saved["name"], saved["incarnation"], saved["issuer"], saved["signing_key"], file)
        cluster.store.restore(saved["store"])
        return cluster


class Clusters:
    """All clusters by name."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._folder = Path(topology.state_dir) / "kubernetes"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._clusters: dict[str, Cluster] = {}
        for file in sorted(self._folder.glob("*.json")):
            cluster = Cluster.load(file)
            self._clusters[cluster.name] = cluster

    def get(self, name: str) -> Cluster | None:
        """The cluster of that name."""
        return self._clusters.get(name)

    def by_issuer(self, incarnation: str) -> Cluster | None:
        """The living cluster with that incarnation."""
        return next((one for one in self._clusters.values() if one.incarnation == incarnation), None)

    async def put(self, name: str, incarnation: str) -> Cluster:
        """Make a cluster; the same incarnation again changes nothing, another one replaces it."""
        existing = self._clusters.get(name)
        if existing is not None and existing.incarnation == incarnation:
            return existing
        signing_key = await asyncio.to_thread(new_signing_key)
        self.delete(name)
        url = f"{self._topology.kubernetes_url}/issuers/{self._topology.tenant_id}/{incarnation}/"
        cluster = Cluster(name, incarnation, url, signing_key, self._folder / f"{name}.json")
        cluster.fill()
        cluster.save()
        self._clusters[name] = cluster
        return cluster

    def delete(self, name: str) -> bool:
        """Remove a cluster and everything in it; False when there is none."""
        cluster = self._clusters.pop(name, None)
        if cluster is None:
            return False
        cluster.forget_save()
        (self._folder / f"{name}.json").unlink(missing_ok=True)
        return True

    def save(self) -> None:
        """Write every change that is not written yet."""
        for cluster in self._clusters.values():
            cluster.save_if_changed()
