"""Clusters that ask the admission policy before each write, as an API server with it does."""

from __future__ import annotations

from typing import Any

from shared.clients.kube_objects import applied
from shared.errors import PermanentError
from shared.ports import KubeObject
from tests.fakes.admission import refusal
from tests.fakes.clusters import InMemoryClusters


class AdmittedClusters(InMemoryClusters):
    """``InMemoryClusters`` under ``infra/kubernetes/admission.yaml``."""

    asked: list[str]
    """Operation, kind and name of each write that was let through."""

    async def create(self, *place: Any, **fields: Any) -> KubeObject:
        _, kind, namespace, name = place
        self._ask("CREATE", kind, namespace, new=_body(kind, namespace, name, **fields))
        return await super().create(*place, **fields)

    async def apply(self, *place: Any, **fields: Any) -> KubeObject:
        cluster_id, kind, namespace, name = place
        there = await self.get(cluster_id, kind, namespace, name, values=True)
        made = await super().apply(*place, **fields)
        old = _seen(there) if there else None
        self._ask("UPDATE" if old else "CREATE", kind, namespace, new=_seen(made), old=old)
        return made

    async def delete(self, *place: Any, **known: str) -> bool:
        cluster_id, kind, namespace, name = place
        there = await self.get(cluster_id, kind, namespace, name, values=True)
        if there is not None:
            self._ask("DELETE", kind, namespace, old=_seen(there))
        return await super().delete(*place, **known)

    def _ask(self, operation: str, kind: str, namespace: str, **bodies: dict[str, Any] | None) -> None:
        why = refusal(operation, kind, namespace=namespace, new=bodies.get("new"), old=bodies.get("old"))
        [body] = [one for one in (bodies.get("new") or bodies.get("old"),) if one]
        if why:
            raise PermanentError("kubernetes-access-denied", f"{kind} {body['metadata']['name']}: {why}")
        self.asked.append(f"{operation} {kind} {body['metadata']['name']}")


def _seen(one: KubeObject) -> dict[str, Any]:
    fields = {"labels": one.labels, "annotations": one.annotations}
    return _body(one.kind, one.namespace, one.name, **fields, data=None)


def _body(kind: str, namespace: str, name: str, **fields: Any) -> dict[str, Any]:
    body = applied(kind, namespace, name, **{"data": None, **fields})
    metadata = {part: value for part, value in body["metadata"].items() if value}
    return {**body, "metadata": metadata, **({"type": "Opaque"} if kind == "Secret" else {})}
