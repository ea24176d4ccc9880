"""What a look at a cluster says of one connection: what it has lost, and what is not as it was written.

Pure: from what is on record and what was listed, to findings. A RESTORED connection and objects with the keep
annotation are left alone. What could not be listed says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shared import naming
from shared.drift import Drifted
from shared.models import ConnectionState, Plan, Provenance
from shared.ports import KubeObject
from shared.steps.base import (
    ANNOTATION_CLIENT_ID,
    ANNOTATION_KEEP,
    ANNOTATION_NONCE,
    ANNOTATION_TENANT_ID,
    LABEL_CONNECTION,
    LABEL_MANAGED_BY,
    LABEL_WORKLOAD,
)
from shared.sweeping.cluster_view import ACCOUNT, SECRET, ClusterView
from shared.sweeping.on_record import OnRecord

STEPS: Mapping[str, str] = {"settings": SECRET, "service_account": ACCOUNT}
"""Kind of the object that a step makes, unless its plan names another."""
SETTLED_WITHOUT_CLUSTER = frozenset({ConnectionState.ORPHANED, ConnectionState.RESTORED})
"""What a cluster that is gone changes nothing for any more."""


def lost(record: OnRecord, view: ClusterView) -> tuple[str, str] | None:
    """Cause and id of what a connection has lost with this cluster; ``None`` if nothing.

    A cluster of another issuer is another cluster. A connection of Service Connector goes with its linker and
    with nothing else; what is kept for a rebuild does not miss a namespace that was not made again yet.
    """
    connection = record.connection
    if connection.state is ConnectionState.RESTORED or not (connection.state.live and record.holds):
        return None
    recorded = record.output("preflight", "issuer")
    orphaned = connection.state is ConnectionState.ORPHANED
    if recorded and view.cluster.issuer and recorded != view.cluster.issuer:
        return None if orphaned else ("cluster", view.cluster_id)
    if connection.linker_id:
        return ("linker", connection.linker_id) if _without_linker(record, view) else None
    if orphaned or not view.namespaces or connection.spec.namespace in view.namespaces:
        return None
    return "namespace", f"{view.cluster_id}/namespaces/{connection.spec.namespace}"


def _without_linker(record: OnRecord, view: ClusterView) -> bool:
    """Say whether the linker is gone, or works no more through the identity that was left to it."""
    if view.linkers is None:
        return False
    linker = view.linkers.get(naming.fold_id(record.connection.linker_id))
    if linker is None:
        return True
    client_id = record.output("managed_identity", "clientId") if record.connection.left_by else ""
    return bool(client_id) and linker.client_id.lower() != client_id.lower()


def drifted(record: OnRecord, view: ClusterView, *, tenant_id: str) -> list[Drifted]:
    """What of a connection's cluster objects is not as it was written, values left aside."""
    if not record.settled or record.connection.state is ConnectionState.RESTORED:
        return []
    namespace = record.connection.spec.namespace
    if view.namespaces and namespace not in view.namespaces:
        # Under a living linker only: one of ours is pruned with its namespace.
        return [Drifted(kind="namespace-missing", thing=f"Namespace {namespace}")]
    found: list[Drifted] = []
    for step in STEPS:
        for plan, thing in recorded(record, step):
            found += _object(record, view, step, plan, thing, tenant_id=tenant_id)
    return found


def recorded(record: OnRecord, step: str) -> Iterator[tuple[Plan, tuple[str, str]]]:
    """The object that a step has made, with namespace and name; nothing before it was made."""
    for plan in record.plans(step)[:1]:
        if plan.outputs.get("uid") and "name" in plan.planned:
            yield plan, (str(plan.planned["namespace"]), str(plan.planned["name"]))


def seen(record: OnRecord, view: ClusterView, step: str) -> KubeObject | None:
    """The object that a step has made, if it was listed and is the one on record."""
    for plan, thing in recorded(record, step):
        there = view.objects.get(kind_of(step, plan), {}).get(thing)
        if there is not None and there.uid == plan.outputs["uid"]:
            return there
    return None


def kind_of(step: str, plan: Plan) -> str:
    """Kind of the object that a step has made."""
    return str(plan.planned.get("kind", STEPS[step]))


def _object(
    record: OnRecord, view: ClusterView, step: str, plan: Plan, thing: tuple[str, str], *, tenant_id: str
) -> list[Drifted]:
    kind = kind_of(step, plan)
    if not view.lists(kind, thing[0]):
        return []
    shown, uid = f"{kind} {thing[0]}/{thing[1]}", str(plan.outputs["uid"])
    there = view.objects[kind].get(thing)
    if there is None:
        return [Drifted(kind="object-missing", thing=shown, mark=uid)]
    if ANNOTATION_KEEP in there.annotations:
        return []
    provided = plan.planned.get("provenance") == Provenance.PROVIDED
    wrong = [] if record.connection.linker_id else _edited(there, *_expected(record, step, plan, tenant_id))
    shared = kind == ACCOUNT and not record.connection.linker_id
    if there.uid != uid and not provided and (wrong or not shared):
        # An account may have been made anew by another connection of the workload: then it bears our marks.
        return [Drifted(kind="object-replaced", thing=shown, detail=f"uid {there.uid}", mark=there.uid)]
    if not wrong:
        return []
    return [
        Drifted(
            kind="object-edited", thing=shown, detail=", ".join(wrong), mark=f"{uid} {there.resource_version}"
        )
    ]


def _expected(
    record: OnRecord, step: str, plan: Plan, tenant_id: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations that a step writes."""
    spec, ours = record.connection.spec, {LABEL_MANAGED_BY: naming.MANAGED_BY}
    if step == "settings":
        nonce = str(plan.planned.get("nonce", ""))
        return {**ours, LABEL_CONNECTION: record.connection.connection_id}, {ANNOTATION_NONCE: nonce}
    workload = naming.workload_key(spec.cluster_id, spec.namespace, spec.workload)
    client_id = record.output("managed_identity", "clientId")
    if plan.planned.get("provenance") == Provenance.PROVIDED:
        return {}, {ANNOTATION_CLIENT_ID: client_id}  # the rest of it is its owner's
    annotations = {ANNOTATION_CLIENT_ID: client_id, ANNOTATION_TENANT_ID: tenant_id}
    return {**ours, LABEL_WORKLOAD: workload}, annotations


def _edited(there: KubeObject, labels: Mapping[str, str], annotations: Mapping[str, str]) -> list[str]:
    wrong = [name for name, value in labels.items() if there.labels.get(name) != value]
    return wrong + [name for name, value in annotations.items() if there.annotations.get(name) != value]
