"""Services a workload connects to: those that are a shape, and the two that need behaviour of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping

from sandbox.arm.call import Answer, Call, utc_now
from sandbox.arm.errors import ArmError
from sandbox.arm.ids import parse_id
from sandbox.arm.operations import Operation
from sandbox.arm.provider import SUCCEEDED, ResourceType, require_location
from sandbox.arm.store import Body
from sandbox.arm.target_shapes import TargetShape
from sandbox.arm.world import World

STORAGE_RETRY_AFTER_SECONDS = 17
PURGE_RETRY_AFTER_SECONDS = 5
SOFT_DELETE_SECONDS = 90 * 24 * 3600


class Target(ResourceType):
    """A target that needs no behaviour of its own: kept as posted, plus what its service adds to a GET."""

    def __init__(self, world: World, shape: TargetShape) -> None:
        super().__init__(world, shape.type)
        self._shape = shape

    def made(self, call: Call, existing: Body | None) -> Body:
        body = super().made(call, existing)
        kind = str(body.get("kind") or self._shape.kind)
        if kind:
            body["kind"] = kind
        location = str(body.get("location") or self.world.topology.location)
        names = {"name": call.id.name, "location": location, "subscription": call.id.subscription}
        body["properties"] = {**self._shape.properties(kind, names), **body["properties"]}
        return body


class StorageAccounts(ResourceType):
    """Creation is asynchronous (202 without a body); an update answers 200 at once."""

    type = "Microsoft.Storage/storageAccounts"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        world.operations.register("storage-put", self._finish_put)

    async def put(self, call: Call) -> Answer:
        existing = self.store.get(call.id.text)
        body = self._account(call, existing)
        if existing is not None:
            self.keep(body, existing)
            return Answer(200, body)
        body["properties"]["provisioningState"] = "Creating"
        self.keep(body, None)
        operation = self.begin("storage-put", call, "Write", running="InProgress", location=body["location"])
        return self.poll(operation, call)

    def _account(self, call: Call, existing: Body | None) -> Body:
        name, now = call.id.name, utc_now()
        root = self.world.topology.dataplane_url
        location = existing["location"] if existing else require_location(call)
        sku = call.body.get("sku") or {"name": "Standard_LRS"}
        return {
            "sku": {"tier": str(sku.get("name", "")).split("_")[0], **sku},
            "kind": call.body.get("kind", "StorageV2"),
            "id": existing["id"] if existing else self.canonical_id(call.id),
            "name": name,
            "type": self.type,
            "location": location,
            "tags": call.body.get("tags") or {},
            "properties": {
                "allowBlobPublicAccess": False,
                "allowSharedKeyAccess": False,
                "minimumTlsVersion": "TLS1_2",
                "networkAcls": {
                    "bypass": "AzureServices",
                    "virtualNetworkRules": [],
                    "ipRules": [],
                    "defaultAction": "Allow",
                },
                "supportsHttpsTrafficOnly": True,
                **call.properties,
                "provisioningState": SUCCEEDED,
                "creationTime": existing["properties"]["creationTime"] if existing else now,
                "primaryEndpoints": {
                    service: f"{root}/{service}/{name}/"
                    for service in ("blob", "queue", "table", "file", "dfs")
                },
                "primaryLocation": location,
                "statusOfPrimary": "available",
            },
        }

    def poll(self, operation: Operation, call: Call) -> Answer:
        """202 until done, then 200 with the account."""
        if operation["status"] != operation["running"]:
            return Answer(200, self.store.get(operation["resourceId"]))
        where = f"/subscriptions/{call.id.subscription}/providers/Microsoft.Storage/locations"
        path = f"{where}/{operation['payload']['location']}/asyncoperations/{operation['name']}"
        location = self.world.operations.url(path, call.api_version, "monitor=true&")
        retry_after = self.world.operations.retry_after(STORAGE_RETRY_AFTER_SECONDS)
        headers = {
            "Location": location,
            "Retry-After": retry_after,
            "Content-Type": "text/plain; charset=utf-8",
        }
        return Answer(202, None, headers, accepted=True)

    async def _finish_put(self, operation: Operation) -> None:
        found = self.store.get(operation["resourceId"])
        if found is not None:
            found["properties"]["provisioningState"] = SUCCEEDED


class StorageServices(ResourceType):
    """``blobServices/default`` and its siblings exist as soon as their account does."""

    def _default(self, target_id: str) -> Body:
        target = parse_id(target_id)
        return {
            "id": self.canonical_id(target),
            "name": "default",
            "type": self.type,
            "properties": {"cors": {"corsRules": []}, "deleteRetentionPolicy": {"enabled": False}},
        }

    async def get(self, call: Call) -> Answer:
        if call.id.name.lower() != "default":
            raise self.not_found(call)
        return Answer(200, self.store.get(call.id.text) or self._default(call.id.text))

    async def list(self, call: Call) -> Answer:
        path = f"{call.id.text}/default"
        return Answer(200, {"value": [self.store.get(path) or self._default(path)]})

    async def put(self, call: Call) -> Answer:
        body = self._default(call.id.text)
        body["properties"].update(call.properties)
        self.store.put(body)
        return Answer(200, body)


class TargetParts(ResourceType):
    """Containers, queues, tables and the like: their services have codes of their own for a missing one."""

    CODES: Mapping[str, str] = {
        "Microsoft.Storage/storageAccounts/blobServices/containers": "ContainerNotFound",
        "Microsoft.Storage/storageAccounts/queueServices/queues": "QueueNotFound",
        "Microsoft.Storage/storageAccounts/tableServices/tables": "TableNotFound",
        "Microsoft.ServiceBus/namespaces/queues": "MessagingGatewayNotFoundStatusCode",
        "Microsoft.ServiceBus/namespaces/topics": "MessagingGatewayNotFoundStatusCode",
        "Microsoft.ServiceBus/namespaces/topics/subscriptions": "MessagingGatewayNotFoundStatusCode",
        "Microsoft.EventHub/namespaces/eventhubs": "MessagingGatewayNotFoundStatusCode",
        "Microsoft.EventHub/namespaces/eventhubs/consumergroups": "MessagingGatewayNotFoundStatusCode",
        "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers": "NotFound",
    }

    def not_found(self, call: Call) -> ArmError:
        return ArmError(404, self.CODES[self.type], f"The specified resource {call.id.text} does not exist.")


class Vaults(ResourceType):
    """Key vaults: synchronous, and soft-deleted rather than gone."""

    type = "Microsoft.KeyVault/vaults"

    async def put(self, call: Call) -> Answer:
        existing = self.store.get(call.id.text)
        folded = call.id.name.lower()
        recover = call.properties.get("createMode") == "recover"
        if existing is None and folded in self.store.deleted_vaults:
            if not recover:
                raise ArmError(
                    409,
                    "ConflictError",
                    "A vault with the same name already exists in deleted state. You need to "
                    "either recover or "
                    "purge existing key vault.",
                )
            kept = self.store.deleted_vaults.pop(folded)["vault"]
            self.keep(kept, None)
            return Answer(200, kept)
        body = self.made(call, existing)
        body["location"] = existing["location"] if existing else require_location(call)
        body.setdefault("tags", {})
        properties = body["properties"]
        properties.pop("createMode", None)
        properties.setdefault("enableSoftDelete", True)
        properties.setdefault("softDeleteRetentionInDays", 90)
        properties.setdefault("enableRbacAuthorization", True)
        properties["vaultUri"] = f"{self.world.topology.dataplane_url}/vault/{call.id.name}/"
        properties["tenantId"] = self.world.topology.tenant_id
        self.keep(body, existing)
        return Answer(200, body)

    async def destroy(self, body: Body) -> None:
        now = time.time()
        where = f"/subscriptions/{parse_id(body['id']).subscription}/providers/Microsoft.KeyVault/locations"
        deleted = {
            "id": f"{where}/{body['location']}/deletedVaults/{body['name']}",
            "name": body["name"],
            "type": "Microsoft.KeyVault/deletedVaults",
            "properties": {
                "vaultId": body["id"],
                "location": body["location"],
                "tags": body.get("tags", {}),
                "deletionDate": _stamp(now),
                "scheduledPurgeDate": _stamp(now + SOFT_DELETE_SECONDS),
            },
        }
        self.store.deleted_vaults[body["name"].lower()] = {"shown": deleted, "vault": body}
        await super().destroy(body)


class DeletedVaults(ResourceType):
    """Soft-deleted vaults of a location: looked at and purged, never made."""

    type = "Microsoft.KeyVault/locations/deletedVaults"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        world.operations.register("vault-purge", self._finish_purge)

    async def get(self, call: Call) -> Answer:
        found = self.store.deleted_vaults.get(call.id.name.lower())
        if found is None:
            raise ArmError(
                404, "DeletedVaultNotFound", f"The specified deleted vault '{call.id.name}' does not exist."
            )
        return Answer(200, found["shown"])

    async def list(self, call: Call) -> Answer:
        del call
        return Answer(200, {"value": [one["shown"] for one in self.store.deleted_vaults.values()]})

    async def put(self, call: Call) -> Answer:
        del call
        raise ArmError(405, "MethodNotAllowed", "The requested resource does not support http method 'PUT'.")

    async def act(self, call: Call) -> Answer:
        if call.action.lower() != "purge":
            return await super().act(call)
        await self.get(call)
        operation = self.begin("vault-purge", call, "purge/action", running="Deleting")
        operation["payload"]["event"]["verb"] = "Action"
        where = (
            f"/subscriptions/{call.id.subscription}/providers/Microsoft.KeyVault/locations/{call.id.names[0]}"
        )
        location = self.world.operations.url(
            f"{where}/operationResults/{operation['name']}", call.api_version
        )
        retry_after = self.world.operations.retry_after(PURGE_RETRY_AFTER_SECONDS)
        return Answer(202, None, {"Location": location, "Retry-After": retry_after}, accepted=True)

    async def _finish_purge(self, operation: Operation) -> None:
        self.store.deleted_vaults.pop(parse_id(operation["resourceId"]).name.lower(), None)


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
