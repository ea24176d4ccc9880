"""Service Connector's linkers on a cluster: wire shapes and asynchronous operations."""

from __future__ import annotations

import uuid
from typing import Any

from sandbox.arm.access import ASSIGNMENTS
from sandbox.arm.call import Answer, Call, utc_now
from sandbox.arm.errors import ArmError, bad_request
from sandbox.arm.ids import id_key, parse_id
from sandbox.arm.operations import Operation
from sandbox.arm.provider import SUCCEEDED, ResourceType
from sandbox.arm.service_connector import ServiceConnector
from sandbox.arm.store import Body
from sandbox.arm.world import World

POLL_API_VERSION = "2021-01-01-privatepreview"

_SHAPE: dict[str, Any] = {
    "vNetSolution": None,
    "clientType": "none",
    "secretStore": {"keyVaultId": None, "keyVaultSecretName": None},
    "scope": None,
    "publicNetworkSolution": {"firewallRules": None, "deleteOrUpdateBehavior": None, "action": None},
    "configurationInfo": {
        "customizedKeys": None,
        "configurationStore": None,
        "additionalConfigurations": None,
        "additionalConnectionStringProperties": None,
        "deleteOrUpdateBehavior": None,
        "action": None,
        "daprProperties": None,
    },
}


class Linkers(ResourceType):
    """Writes answer at once with ``Accepted``; the service behind does the work."""

    type = "Microsoft.ServiceLinker/linkers"

    def __init__(self, world: World, connector: ServiceConnector) -> None:
        super().__init__(world)
        self._connector = connector
        for kind in ("linker-put", "linker-update"):
            world.operations.register(kind, self._finish_put)
        world.operations.register("linker-delete", self._finish_delete)
        world.operations.register("linker-validate", self._finish_validate)

    async def put(self, call: Call) -> Answer:
        existing = self.store.get(call.id.text)
        if not (call.properties.get("targetService") or {}).get("id"):
            raise bad_request("InvalidTargetService", "The target service of the connection is required.")
        if existing is not None and existing["properties"].get("scope") != (
            call.properties.get("scope") or "default"
        ):
            raise bad_request(
                "ScopeChangeNotAllowed", "The scope of an existing connection cannot be changed."
            )
        return self._write(call, existing, call.properties)

    async def patch(self, call: Call) -> Answer:
        found = self.require(call)
        return self._write(call, found, {**found["properties"], **call.properties})

    def _write(self, call: Call, existing: Body | None, properties: dict[str, Any]) -> Answer:
        now = utc_now()
        made = (existing or {}).get("systemData", {})
        shaped: dict[str, Any] = {
            "provisioningState": "Accepted",
            "targetService": {"resourceProperties": None, **properties["targetService"]},
            "authInfo": {
                "subscriptionId": None,
                "clientId": None,
                "roles": None,
                "userName": None,
                "deleteOrUpdateBehavior": None,
                **(properties.get("authInfo") or {}),
            },
        }
        for name, default in _SHAPE.items():
            given = properties.get(name)
            shaped[name] = {**default, **(given or {})} if isinstance(default, dict) else given or default
        shaped["scope"] = shaped["scope"] or "default"
        body: Body = {
            "id": existing["id"] if existing else self.canonical_id(call.id),
            "name": call.id.name,
            "type": self.type.lower(),
            "systemData": {
                "createdBy": made.get("createdBy", call.caller_app),
                "createdByType": "Application",
                "createdAt": made.get("createdAt", now),
                "lastModifiedBy": call.caller_app,
                "lastModifiedByType": "Application",
                "lastModifiedAt": now,
            },
            "properties": shaped,
        }
        self.keep(body, existing)
        kind = "linker-update" if existing else "linker-put"
        operation = self.begin(kind, call, "Write", running="Accepted")
        headers = {"Azure-AsyncOperation": self._url(operation), "ETag": f'"{uuid.uuid4()}"'}
        return Answer(201, body, headers, accepted=True)

    def _url(self, operation: Operation) -> str:
        topology = self.world.topology
        subscription = parse_id(operation["resourceId"]).subscription
        where = f"/subscriptions/{subscription}/providers/Microsoft.ServiceLinker/locations"
        path = f"{where}/{topology.location.upper()}/operationStatuses/{operation['name']}"
        return self.world.operations.url(path, POLL_API_VERSION)

    async def _finish_put(self, operation: Operation) -> dict[str, Any] | None:
        found = self.store.get(operation["resourceId"])
        if found is None:
            return None
        try:
            await self._connector.connect(found)
        except ArmError:
            found["properties"]["provisioningState"] = "Failed"
            raise
        found["properties"]["provisioningState"] = SUCCEEDED
        self.store.put(found)
        properties: dict[str, Any] = found["properties"]
        return properties

    async def delete(self, call: Call) -> Answer:
        found = self.store.get(call.id.text)
        if found is None:
            return Answer(204)
        found["properties"]["provisioningState"] = "Deleting"
        self.store.put(found)
        return self._accepted(self.begin("linker-delete", call, "Delete", running="Deleting"))

    def _accepted(self, operation: Operation) -> Answer:
        url = self._url(operation)
        return Answer(202, None, {"Azure-AsyncOperation": url, "Location": url}, accepted=True, raw="null")

    async def _finish_delete(self, operation: Operation) -> None:
        found = self.store.get(operation["resourceId"])
        if found is not None:
            await self.destroy(found)

    async def destroy(self, body: Body) -> None:
        self._connector.disconnect(body)
        await super().destroy(body)

    async def act(self, call: Call) -> Answer:
        found = self.require(call)
        action = call.action.lower()
        if action == "listconfigurations":
            rows = [
                {
                    "name": name,
                    "value": value,
                    "configType": "Default",
                    "keyVaultReferenceIdentity": None,
                    "description": "",
                }
                for name, value in self._connector.settings(found).items()
            ]
            return Answer(200, {"configurations": rows})
        if action == "validatelinker":
            operation = self.begin("linker-validate", call, "validateLinker/action", running="Accepted")
            operation["payload"]["event"]["verb"] = "Action"
            return self._accepted(operation)
        return await super().act(call)

    async def _finish_validate(self, operation: Operation) -> dict[str, Any]:
        found = self.store.get(operation["resourceId"])
        if found is None:
            raise ArmError(404, "ResourceNotFound", "The connection was not found.")
        problems = self._problems(found)
        started = operation["startTime"]
        return {
            "linkerName": found["name"],
            "isConnectionAvailable": not any(problems.values()),
            "validationDetail": [
                {
                    "name": f"{name} validated.",
                    "description": problem or None,
                    "result": "failure" if problem else "success",
                }
                for name, problem in problems.items()
            ],
            "reportStartTimeUtc": started,
            "reportEndTimeUtc": utc_now(),
            "sourceId": None,
            "targetId": None,
            "authType": found["properties"]["authInfo"].get("authType"),
        }

    def _problems(self, linker: Body) -> dict[str, str]:
        """The five checks of the service; none of them looks into the cluster."""
        problems = dict.fromkeys(
            (
                "Target resource existence",
                "Target service firewall",
                "Configured connection information",
                "Managed Identity existence",
                "Managed Identity permissions",
            ),
            "",
        )
        target: Body | None = None
        try:
            row, target = self._connector.target(linker)
        except ArmError as refused:
            problems["Target resource existence"] = refused.message
        try:
            identity = self._connector.identity(linker)
        except ArmError as refused:
            problems["Managed Identity existence"] = refused.message
            return problems
        if target is not None:
            granted = {
                body["properties"]["roleDefinitionId"].rsplit("/", 1)[-1]
                for body in self.store.of_type(ASSIGNMENTS)
                if body["properties"]["principalId"] == identity["properties"]["principalId"]
                and id_key(target["id"]).startswith(id_key(body["properties"]["scope"]))
            }
            if not granted.issuperset(row.roles):
                problems["Managed Identity permissions"] = "A role assignment on the target is missing."
        return problems

    def status(self, operation: Operation, api_version: str) -> Answer:
        """The operation resource: 200 for writes, 202 with both headers while others run."""
        del api_version
        subscription = parse_id(operation["resourceId"]).subscription
        where = f"/subscriptions/{subscription}/providers/Microsoft.ServiceLinker/locations"
        path = f"{where}/{self.world.topology.location.upper()}/operationStatuses/{operation['name']}"
        shown = {
            "id": path,
            "name": operation["name"],
            "resourceId": operation["resourceId"],
            "status": operation["status"],
            "startTime": operation["startTime"],
        }
        running = operation["status"] == operation["running"]
        if not running:
            shown["endTime"] = operation["endTime"]
            shown["properties"] = operation.get("properties")
            if "error" in operation:
                shown["error"] = operation["error"]
        if running and operation["kind"] not in {"linker-put", "linker-update"}:
            url = self._url(operation)
            return Answer(202, shown, {"Azure-AsyncOperation": url, "Location": url})
        return Answer(200, shown)
