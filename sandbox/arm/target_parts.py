"""Parts of targets that roles can be limited to: kept as posted, missing in their services' own words."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from sandbox.arm.call import Answer, Call
from sandbox.arm.errors import ArmError
from sandbox.arm.provider import ResourceType
from sandbox.arm.store import Body

MESSAGING = "MessagingGatewayNotFoundStatusCode"


class TargetParts(ResourceType):
    """Containers, queues, tables and the like."""

    CODES: Mapping[str, str] = {
        "Microsoft.Storage/storageAccounts/blobServices/containers": "ContainerNotFound",
        "Microsoft.Storage/storageAccounts/queueServices/queues": "QueueNotFound",
        "Microsoft.Storage/storageAccounts/tableServices/tables": "TableNotFound",
        "Microsoft.ServiceBus/namespaces/queues": MESSAGING,
        "Microsoft.ServiceBus/namespaces/topics": MESSAGING,
        "Microsoft.ServiceBus/namespaces/topics/subscriptions": MESSAGING,
        "Microsoft.EventHub/namespaces/eventhubs": MESSAGING,
        "Microsoft.EventHub/namespaces/eventhubs/consumergroups": MESSAGING,
        "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers": "NotFound",
    }

    def not_found(self, call: Call) -> ArmError:
        return ArmError(404, self.CODES[self.type], f"The specified resource {call.id.text} does not exist.")


class BlobContainers(TargetParts):
    """Those that were made or removed through the blob service are seen here, too."""

    type = "Microsoft.Storage/storageAccounts/blobServices/containers"

    async def get(self, call: Call) -> Answer:
        if self.store.get(call.id.text) is None and await self._held(call, "GET"):
            return Answer(200, self._seen(call))
        return await super().get(call)

    async def delete(self, call: Call) -> Answer:
        if self.store.get(call.id.text) is None and await self._held(call, "DELETE"):
            return Answer(200)
        return await super().delete(call)

    def _seen(self, call: Call) -> Body:
        properties = {"publicAccess": "None", "leaseStatus": "Unlocked", "leaseState": "Available"}
        return {
            "id": self.canonical_id(call.id),
            "name": call.id.name,
            "type": self.type,
            "properties": properties,
        }

    async def _held(self, call: Call, method: str) -> bool:
        """Say whether the blob service has the container, or had it until this deletion."""
        where = f"{self.world.topology.dataplane_url}/sandbox/containers"
        try:
            async with self.world.http.request(
                method, f"{where}/{call.id.names[0]}/{call.id.name}"
            ) as answer:
                return answer.ok
        except aiohttp.ClientError:
            return False  # there may be no data plane
