"""What HTTP answers show of connections, operations and requests: plain JSON, camelCase, no credential."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from shared import naming
from shared.models import Cause, Connection, Intent, Kind, Operation, StepRecord
from shared.records import RequestRecord
from shared.spec import PROVIDER_CLASS
from shared.state import Snapshot


def connection(value: Connection, intents: Mapping[str, Intent], *, base_url: str = "") -> dict[str, Any]:
    """One connection with the names that a manifest needs."""
    identity = intents.get("managed_identity")
    account = intents.get("service_account")
    assignments = intents.get("role_assignments")
    user = intents.get("database_access")
    credential = intents.get("federated_credential")
    made = {
        "identity": {**identity.outputs, "provenance": identity.planned.get("provenance")}
        if identity
        else None,
        "roleAssignments": list(assignments.outputs.get("assignments", ())) if assignments else [],
        "databaseUser": _database_user(user.outputs) if user and user.outputs else None,
        "federatedCredential": credential.outputs.get("name") if credential else None,
        "kubernetes": {
            **_settings_object(value),
            "serviceAccount": account.planned.get("name") if account else None,
        },
    }
    return listed(value, base_url=base_url) | made


def _settings_object(value: Connection) -> dict[str, str | None]:
    """Name of the object with the settings under its kind; the others are null."""
    _, name = naming.settings_object(value.spec)
    kind = value.spec.settings_in or "secret"
    return {one: name if one == kind else None for one in ("secret", "configMap", PROVIDER_CLASS)}


def _database_user(outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: outputs[name] for name in ("serverId", "database", "name", "objectId")}


def listed(value: Connection, *, base_url: str = "") -> dict[str, Any]:
    """One connection of a list: its row alone, without what was made for it."""
    spec = value.spec
    return {
        "id": value.connection_id,
        "name": spec.name,
        "state": value.state.value,
        "clusterId": spec.cluster_id,
        "namespace": spec.namespace,
        "workload": spec.workload,
        "target": {"type": spec.target_type, "id": spec.target_id},
        "clientType": spec.client_type,
        "intent": spec.intent or None,
        "authType": spec.auth_kind,
        "serviceAccount": spec.service_account or None,
        "settingsIn": spec.settings_in or "secret",
        "vaultObjects": {file: dict(one) for file, one in spec.vault_objects.items()},
        "customizedKeys": dict(spec.customized_keys),
        "additionalSettings": dict(spec.additional_settings),
        "generation": value.generation,
        "createdAt": _instant(value.created_at),
        "configuredAt": _instant(value.configured_at),
        "usableAt": _instant(value.usable_at),
        "endedAt": _instant(value.ended_at),
        "adoptedAt": _instant(value.adopted_at),
        "linkerId": value.linker_id or None,
        "leftBy": value.left_by or None,
        "operations": [f"{base_url}/operations/{one}" for one in value.active],
        "lastOperation": f"{base_url}/operations/{value.last_operation}" if value.last_operation else None,
    }


def operation(snapshot: Snapshot) -> dict[str, Any]:
    """One operation with its steps, and the findings of a validation."""
    value = snapshot.operation.value
    steps = [snapshot.steps[planned.name].value for planned in value.plan]
    findings = [finding for step in steps for finding in step.outputs.get("findings", ())]
    return {
        **_operation(value),
        "steps": [_step(step) for step in steps],
        "findings": findings,
        "result": _worst(findings) if value.kind is Kind.VALIDATE and value.state.final else None,
    }


def _worst(findings: Iterable[Mapping[str, Any]]) -> str:
    """The result of a whole validation."""
    results = {str(finding["result"]) for finding in findings}
    return next((one for one in ("failed", "unknown", "warning") if one in results), "ok")


def rejection(record: RequestRecord) -> dict[str, Any]:
    """A refused request, in an operation's shape."""
    return {
        "id": record.operation_id,
        "connectionId": record.connection_id or None,
        "kind": record.action or None,
        "state": "rejected",
        "requestId": record.request_id or None,
        "code": record.code,
        "detail": record.detail,
        "field": record.field or None,
        "remedy": record.remedy or None,
        "openedAt": _instant(record.received_at),
        "endedAt": _instant(record.received_at),
        "source": record.source,
    }


def nothing_to_do(record: RequestRecord) -> dict[str, Any]:
    """A request that needed no operation and never had one."""
    return {
        "id": None,
        "connectionId": record.connection_id,
        "kind": record.action,
        "state": "succeeded",
        "outcome": record.outcome,
        "requestId": record.request_id or None,
        "openedAt": _instant(record.received_at),
        "endedAt": _instant(record.received_at),
    }


def _operation(value: Operation) -> dict[str, Any]:
    return {
        "id": value.operation_id,
        "connectionId": value.connection_id,
        "kind": value.kind.value,
        "update": bool(value.changes),
        "state": value.state.value,
        "waiting": value.waiting or None,
        "code": value.code or None,
        "detail": value.detail or None,
        "remedy": value.remedy or None,
        "requestId": value.request_id or None,
        "behind": value.behind or None,
        "cause": _cause(value.cause) if value.cause else None,
        "reportOnly": value.report_only,
        "traceId": naming.trace_of(value.operation_id)[0],
        "openedAt": _instant(value.opened_at),
        "endedAt": _instant(value.ended_at),
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "kind": cause.kind,
        "resourceId": cause.resource_id,
        "eventId": cause.event_id or None,
        "eventTime": cause.event_time or None,
    }


def _step(step: StepRecord) -> dict[str, Any]:
    return {
        "name": step.name,
        "direction": step.direction.value,
        "state": step.state.value,
        "attempts": step.attempts,
        "waiting": step.waiting or None,
        "dueAt": _instant(step.due_at),
        "code": step.code or None,
        "detail": step.detail or None,
        "startedAt": _instant(step.started_at),
        "endedAt": _instant(step.ended_at),
        "outputs": {name: _shown(value) for name, value in step.outputs.items() if name != "findings"},
    }


def _shown(value: Any) -> Any:
    """An output without the nonces: whoever knows one could make an object look like ours."""
    if not isinstance(value, list):
        return value
    return [
        {name: part for name, part in item.items() if name != "nonces"} if isinstance(item, dict) else item
        for item in value
    ]


def _instant(value: datetime | None) -> str | None:
    return value.isoformat(timespec="milliseconds") if value else None
