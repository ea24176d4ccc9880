"""Resource groups and their deletion, which takes everything inside along, children first."""

from __future__ import annotations

import base64
import builtins
import json

from sandbox.arm.call import Answer, Call, filter_terms
from sandbox.arm.errors import group_not_found
from sandbox.arm.events import Occurrence
from sandbox.arm.ids import ResourceId, parse_id
from sandbox.arm.operations import Operation
from sandbox.arm.provider import ResourceType, require_location
from sandbox.arm.registry import Registry
from sandbox.arm.store import Body
from sandbox.arm.world import World

RETRY_AFTER_SECONDS = 15


class Groups(ResourceType):
    """A group's deletion is one asynchronous job; each resource in it gets its own event."""

    type = "Microsoft.Resources/resourceGroups"

    def __init__(self, world: World, registry: Registry) -> None:
        super().__init__(world)
        self._registry = registry
        world.operations.register("group-delete", self._finish_delete)

    def canonical_id(self, target: ResourceId) -> str:
        return f"/subscriptions/{target.subscription}/resourceGroups/{target.group}"

    def require(self, call: Call) -> Body:
        found = self.store.get(self.canonical_id(call.id))
        if found is None:
            raise group_not_found(call.id.group)
        return found

    def group(self, resource_id: str, location: str, tags: dict[str, str] | None = None) -> Body:
        """A new group's body."""
        return {
            "id": resource_id,
            "name": resource_id.rsplit("/", 1)[-1],
            "type": self.type,
            "location": location,
            "tags": tags or {},
            "properties": {"provisioningState": "Succeeded"},
        }

    async def put(self, call: Call) -> Answer:
        existing = self.store.get(call.id.text)
        location = require_location(call)
        resource_id = existing["id"] if existing else self.canonical_id(call.id)
        body = self.group(resource_id, existing["location"] if existing else location, call.body.get("tags"))
        self.keep(body, existing)
        return Answer(200 if existing else 201, body)

    async def list(self, call: Call) -> Answer:
        return Answer(
            200, {"value": list(self.store.of_type(self.type, f"/subscriptions/{call.id.subscription}"))}
        )

    async def list_resources(self, call: Call) -> Answer:
        """``GET .../resources``: top-level resources, optionally of one type and of one name.

        Both are compared without regard to case, as everything in an id is.
        """
        terms = filter_terms(call.query.get("$filter", ""))
        wanted, name = terms.get("resourcetype", "").lower(), terms.get("name", "").lower()
        scope = call.id.text.rsplit("/", 1)[0]
        rows: builtins.list[Body] = []
        for body in self.store.below(scope):
            target = parse_id(body["id"])
            if not target.namespace or len(target.types) != 1 or target.is_extension:
                continue
            if body["type"].startswith("Microsoft.Authorization/"):
                continue
            if wanted in {"", body["type"].lower()} and name in {"", body["name"].lower()}:
                rows.append(
                    {key: body[key] for key in ("id", "name", "type", "location", "tags") if key in body}
                )
        return self.page(call, rows)

    async def delete(self, call: Call) -> Answer:
        found = self.require(call)
        found["properties"]["provisioningState"] = "Deleting"
        self.store.put(found)
        operation = self.begin("group-delete", call, "Delete", running="Running")
        operation["payload"]["event"]["operation_name"] = (
            "Microsoft.Resources/subscriptions/resourcegroups/delete"
        )
        return self.poll(call.id.subscription, operation, call.api_version)

    def poll(self, subscription: str, operation: Operation, api_version: str) -> Answer:
        """202 with the same ``Location`` until the job is done, then 200 without a body."""
        if operation["status"] != operation["running"]:
            return Answer(200)
        job = {"jobId": f"RESOURCEGROUPDELETIONJOB-{operation['name']}", "jobLocation": "eastus"}
        token = base64.urlsafe_b64encode(json.dumps(job).encode()).decode().rstrip("=")
        location = self.world.operations.url(
            f"/subscriptions/{subscription}/operationresults/{token}", api_version
        )
        retry_after = self.world.operations.retry_after(RETRY_AFTER_SECONDS)
        return Answer(202, None, {"Location": location, "Retry-After": retry_after}, accepted=True)

    def operation_of(self, token: str) -> Operation | None:
        """The job behind an ``operationresults`` token."""
        try:
            job = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            name = str(job["jobId"]).removeprefix("RESOURCEGROUPDELETIONJOB-")
        except (ValueError, KeyError, TypeError):
            return None
        return self.world.operations.get(name)

    async def destroy(self, body: Body) -> None:
        """Delete what is inside, deepest ids first, then the group."""
        for inner in sorted(self.store.below(body["id"]), key=lambda one: -one["id"].count("/")):
            if self.store.get(inner["id"]) is None:
                continue
            provider = self._registry.of(inner["type"])
            await provider.destroy(inner)
            target = parse_id(inner["id"])
            if len(target.types) == 1 and target.namespace.lower() != "microsoft.authorization":
                self.world.events.publish(
                    Occurrence(
                        verb="Delete",
                        outcome="Success",
                        resource_id=inner["id"],
                        operation_name=f"{provider.type}/delete",
                        method="DELETE",
                    ),
                )
        self.store.remove(body["id"])

    async def _finish_delete(self, operation: Operation) -> None:
        target = parse_id(operation["resourceId"])
        found = self.store.get(self.canonical_id(target))
        if found is not None:
            await self.destroy(found)
