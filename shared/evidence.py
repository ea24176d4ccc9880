"""What HTTP answers show of prunes and orphans: the fact, the proof, the decision and its rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from shared import prune_rules
from shared.beginnings import RESTORABLE
from shared.models import (
    Direction,
    Intent,
    Operation,
    OperationState,
    StepState,
)
from shared.orphans import Orphan
from shared.prunes import PruneEntry, SavedObject
from shared.state import Snapshot

OUTCOMES = ("removed", "kept", "would", "returned")
_KINDS = {
    "settings": "Secret",
    "service_account": "ServiceAccount",
    "managed_identity": "identity",
    "federated_credential": "credential",
    "role_assignments": "role",
    "database_access": "database-user",
}
_NAMES = ("namespace", "name", "resourceId", "identityId", "scope", "role", "serverId")
_LATER = "decided when it is read, right before its removal"


def listed(entry: PruneEntry, operation: Operation, *, base_url: str) -> dict[str, Any]:
    """One prune of a list."""
    decision, rule = _decided(operation)
    return {
        "id": entry.operation_id,
        "connectionId": entry.connection_id,
        "clusterId": entry.cluster_id or None,
        "namespace": entry.namespace or None,
        "cause": entry.cause,
        "resourceId": entry.resource_id,
        "source": entry.source,
        "state": operation.state.value,
        "decision": decision,
        "rule": rule or None,
        "reportOnly": entry.report_only,
        "openedAt": _instant(entry.opened_at),
        "endedAt": _instant(operation.ended_at),
        "record": f"{base_url}/prunes/{entry.operation_id}",
    }


def record(snapshot: Snapshot, saved: Sequence[SavedObject], *, base_url: str) -> dict[str, Any]:
    """The whole record of one prune."""
    operation, connection = snapshot.operation.value, snapshot.connection.value
    objects = list(_objects(snapshot))
    decision, rule = _decided(operation, objects)
    restorable = any(one.restorable for one in saved)
    state = connection.state
    same_life = operation.generation == connection.generation and state in RESTORABLE
    able = operation.state.final and not operation.report_only and restorable and same_life
    return {
        "id": operation.operation_id,
        "connectionId": operation.connection_id,
        "connection": {
            "name": connection.spec.name,
            "state": state.value,
            "clusterId": connection.spec.cluster_id or None,
            "namespace": connection.spec.namespace or None,
            "targetId": connection.spec.target_id,
            "linkerId": connection.linker_id or None,
        },
        "state": operation.state.value,
        "decision": decision,
        "rule": rule or None,
        "waiting": operation.waiting or None,
        "detail": operation.detail or None,
        "code": operation.code or None,
        "reportOnly": operation.report_only,
        "released": operation.released,
        "openedAt": _instant(operation.opened_at),
        "endedAt": _instant(operation.ended_at),
        "fact": _fact(snapshot),
        "objects": objects,
        "saved": [_saved(one) for one in saved],
        "restorable": restorable,
        "restore": f"{base_url}/prunes/{operation.operation_id}/restore" if able else None,
        "operation": f"{base_url}/operations/{operation.operation_id}",
    }


def orphan(value: Orphan, *, base_url: str) -> dict[str, Any]:
    """One orphan."""
    return {
        "id": value.orphan_id,
        "kind": value.kind.value,
        "clusterId": value.cluster_id or None,
        "namespace": value.namespace or None,
        "name": value.name,
        "uid": value.uid or None,
        "resourceId": value.resource_id or None,
        "rule": value.rule,
        "evidence": dict(value.evidence),
        "firstSeenAt": _instant(value.first_seen_at),
        "lastSeenAt": _instant(value.last_seen_at),
        "sweep": value.sweep or None,
        "prune": f"{base_url}/prunes/{value.prune}" if value.prune else None,
    }


def _decided(operation: Operation, objects: Sequence[Mapping[str, Any]] = ()) -> tuple[str, str]:
    """The decision in a word, and the rule behind it, empty if it is none of the rules."""
    if operation.state is OperationState.SUPERSEDED:
        return "nothing", prune_rules.of_result(operation.code)
    if operation.state is OperationState.FAILED:
        return "failed", prune_rules.of_result(operation.code)
    if not operation.state.final:
        return operation.state.value, prune_rules.of_wait(operation.waiting)
    if operation.code:
        return "nothing", prune_rules.of_result(operation.code)
    if operation.report_only:
        return "reported", "report-mode"
    kept = [one["rule"] for one in objects if one["outcome"] == "kept"]
    if kept and not any(one["outcome"] == "removed" for one in objects):
        return "kept", str(kept[0])
    cause = operation.cause
    if cause is None or cause.kind != "orphan":
        return "removed", "confirmed-gone"
    return "removed", "last-user" if cause.source == "sweep" else "named-by-person"


def _fact(snapshot: Snapshot) -> dict[str, Any]:
    cause, step = snapshot.operation.value.cause, snapshot.steps.get("confirm_gone")
    seen: Mapping[str, Any] = step.value.outputs if step else {}
    noted: Mapping[str, str] = step.value.noted if step else {}
    return {
        "resourceId": cause.resource_id if cause else None,
        "kind": cause.kind if cause else None,
        "source": cause.source if cause else None,
        "eventId": (cause.event_id or None) if cause else None,
        "eventTime": (cause.event_time or None) if cause else None,
        "firstGoneAt": seen.get("firstGoneAt") or noted.get("firstGoneAt"),
        "confirmedAt": seen.get("confirmedAt"),
        "apiVersion": seen.get("apiVersion"),
        "witness": seen.get("witness"),
        "found": seen.get("fact"),
    }


def _objects(snapshot: Snapshot) -> Iterator[dict[str, Any]]:
    operation = snapshot.operation.value
    for planned in operation.plan:
        step = snapshot.steps[planned.name].value
        for outcome in OUTCOMES:
            for item in step.outputs.get(outcome, ()):
                if isinstance(item, str):
                    # As the version before rules wrote it.
                    yield {"step": planned.name, "outcome": outcome, "detail": item, "rule": ""}
                    continue
                shown = {name: value for name, value in item.items() if name not in {"nonces", "thing"}}
                yield {"step": planned.name, "outcome": outcome, **shown}
        intent = snapshot.intents.get(planned.name)
        waits = planned.direction is Direction.REVERT and step.state is not StepState.DONE
        if waits and intent is not None and intent.generation == operation.generation:
            yield from _planned(planned.name, intent)


_RESTORABLE = {
    "ServiceAccount": "yes",
    "Secret": "unknown",
    "ConfigMap": "unknown",
    "SecretProviderClass": "unknown",
}
"""What is known of a kind before it is looked at."""


def _planned(step: str, intent: Intent) -> Iterator[dict[str, Any]]:
    """What a step that is not done means to remove, and whether that could be put back, if known."""
    for plan in intent.plans():
        things: Sequence[Mapping[str, Any]] = plan.planned.get("assignments", (plan.planned,))
        for thing in things:
            named = {name: thing[name] for name in _NAMES if name in thing}
            kind = str(thing.get("kind", _KINDS[step]))
            known = _RESTORABLE.get(kind, "no")
            why = {"why": _LATER} if known == "unknown" else {}
            yield {"step": step, "outcome": "planned", "kind": kind, **named, "restorable": known, **why}


def _saved(one: SavedObject) -> dict[str, Any]:
    """What was saved, without the values."""
    return {
        "kind": one.kind,
        "namespace": one.namespace,
        "name": one.name,
        "uid": one.uid,
        "labels": dict(one.labels),
        "annotations": sorted(one.annotations),
        "leftOut": list(one.left_out),
        "keys": sorted(one.data),
        "restorable": "yes" if one.restorable else "no",
        "why": one.why or None,
        "savedAt": _instant(one.saved_at),
    }


def _instant(value: datetime | None) -> str | None:
    return value.isoformat(timespec="milliseconds") if value else None
