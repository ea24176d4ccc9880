"""What stays in Azure and the clusters when Mooring is taken away, told from the records alone.

Nothing is asked of Azure or a cluster and nothing is changed. An uninstallation that revokes nothing leaves
every workload its access, and somebody must know what that is. What connections share is told with each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.models import Connection, Intent, Plan
from shared.steps.making import kind_of

THEIRS = ("adopted", "observed", "provided")
"""Provenances of what others made: it is told, and is not Mooring's to remove."""


def of(connection: Connection, intents: Mapping[str, Intent]) -> list[dict[str, Any]]:
    """Everything that a connection holds, or may hold: what was meant and never confirmed counts too.

    Args:
        connection: one that is live.
        intents: what is on record of it.
    """
    present = {step: one for step, one in intents.items() if one.generation == connection.generation}
    cluster_id = connection.spec.cluster_id
    found = [*_identities(present), *_roles(present), *_credentials(present), *_users(present)]
    found += _objects(present, cluster_id)
    told: dict[str, dict[str, Any]] = {}
    for item in found:
        # Another plan of the same life may name the same thing.
        told.setdefault(
            "|".join(
                str(item.get(name, "")) for name in ("kind", "id", "scope", "serverId", "namespace", "name")
            ),
            item,
        )
    return list(told.values())


def _plans(intents: Mapping[str, Intent], step: str) -> Iterator[Plan]:
    intent = intents.get(step)
    yield from intent.plans() if intent else ()


def _identities(intents: Mapping[str, Intent]) -> Iterator[dict[str, Any]]:
    for plan in _plans(intents, "managed_identity"):
        yield {
            "kind": "identity",
            "id": plan.planned["resourceId"],
            "clientId": plan.outputs.get("clientId"),
            "principalId": plan.outputs.get("principalId"),
            **_whose(plan.planned),
        }


def _roles(intents: Mapping[str, Intent]) -> Iterator[dict[str, Any]]:
    for plan in _plans(intents, "role_assignments"):
        made = {str(one["roleDefinitionId"]): one for one in plan.outputs.get("assignments", ())}
        for meant in plan.planned.get("assignments", ()):
            one = made.get(str(meant["roleDefinitionId"]), meant)
            shown = {name: one[name] for name in ("scope", "name", "role", "principalId")}
            yield {"kind": "role", **shown, **_whose({**plan.planned, **one})}


def _users(intents: Mapping[str, Intent]) -> Iterator[dict[str, Any]]:
    for plan in _plans(intents, "database_access"):
        shown = {name: plan.planned[name] for name in ("serverId", "database", "name", "objectId")}
        yield {"kind": "database-user", **shown, **_whose(plan.planned)}


def _credentials(intents: Mapping[str, Intent]) -> Iterator[dict[str, Any]]:
    for plan in _plans(intents, "federated_credential"):
        name = plan.outputs.get("name", plan.planned["name"])
        identity_id = plan.planned["identityId"]
        yield {
            "kind": "credential",
            "id": f"{identity_id}/federatedIdentityCredentials/{name}",
            "issuer": plan.planned["issuer"],
            "subject": plan.planned["subject"],
            **_whose({**plan.planned, **plan.outputs}),
        }


def _objects(intents: Mapping[str, Intent], cluster_id: str) -> Iterator[dict[str, Any]]:
    for step in ("settings", "service_account", "restored_objects"):
        for plan in _plans(intents, step):
            listed = plan.planned.get("objects", ()) if step == "restored_objects" else (plan.planned,)
            for one in listed:
                kind = "ServiceAccount" if step == "service_account" else kind_of(one)
                place = {"namespace": one["namespace"], "name": one["name"]}
                yield {"kind": kind, "clusterId": cluster_id, **place, **_whose(plan.planned)}


def _whose(planned: Mapping[str, Any]) -> dict[str, Any]:
    provenance = str(planned.get("provenance", "created"))
    return {"provenance": provenance, "ours": provenance not in THEIRS}
