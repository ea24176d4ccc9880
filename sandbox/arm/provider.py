"""The behaviour all resource types share; a type overrides what its service does differently.

Types without a class of their own get this one: kept as posted, listed, deleted. That is what
makes a later target cheap to add.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from sandbox.arm import keys
from sandbox.arm.call import Answer, Call
from sandbox.arm.errors import ArmError, bad_request, resource_not_found
from sandbox.arm.ids import ResourceId, id_key
from sandbox.arm.operations import Operation
from sandbox.arm.store import Body
from sandbox.arm.world import World

SUCCEEDED = "Succeeded"


class ResourceType:
    """One resource type; methods are named after the wire operations they answer."""

    type = ""
    lower_case_group = False
    """Whether the service writes ``/resourcegroups/`` in the ids it answers."""

    def __init__(self, world: World, type_name: str = "") -> None:
        self.world = world
        self.store = world.store
        self.type = self.type or type_name

    def canonical_id(self, target: ResourceId) -> str:
        """The id as the service itself writes it."""
        scope = target.scope
        if self.lower_case_group and target.group:
            scope = f"/subscriptions/{target.subscription}/resourcegroups/{target.group}"
        namespace, *types = self.type.split("/")
        pairs = zip(types, target.names, strict=False)
        return f"{scope}/providers/{namespace}/" + "/".join(f"{t}/{n}" for t, n in pairs)

    def not_found(self, call: Call) -> ArmError:
        """The error of a read that finds nothing."""
        return resource_not_found(call.id)

    def require(self, call: Call) -> Body:
        """The stored resource.

        Raises:
            ArmError: 404 in the service's own words.
        """
        found = self.store.get(call.id.text)
        if found is None:
            raise self.not_found(call)
        return found

    async def get(self, call: Call) -> Answer:
        return Answer(200, self.shown(self.require(call)))

    def shown(self, body: Body) -> Body:
        """A resource as clients see it."""
        return body

    async def list(self, call: Call) -> Answer:
        below = call.id.parent
        depth = len(self.type.split("/"))
        rows = [self.shown(body) for body in self.store.of_type(self.type, below)]
        rows = [row for row in rows if depth < 3 or id_key(row["id"]).startswith(id_key(below) + "/")]
        return self.page(call, rows)

    def page(self, call: Call, rows: Sequence[Body]) -> Answer:
        """One page of a list: as many rows as were asked for, or as the emulator's page size allows.

        A ``nextLink`` repeats the whole question, filter included, as Azure's do.
        """
        top, size = int(call.query.get("$top", "0") or 0), self.world.page_size
        skip = int(call.query.get("$skiptoken", "0") or 0)
        length = min(part for part in (top, size, len(rows) or 1) if part)
        shown: dict[str, Any] = {"value": [*rows[skip : skip + length]]}
        if skip + length < len(rows):
            rest = {name: value for name, value in call.query.items() if name.lower() != "$skiptoken"}
            query = urlencode({**rest, "$skiptoken": skip + length}, quote_via=quote)
            shown["nextLink"] = f"{self.world.topology.arm_url}{call.id.text}?{query}"
        return Answer(200, shown)

    async def put(self, call: Call) -> Answer:
        existing = self.store.get(call.id.text)
        body = self.made(call, existing)
        self.keep(body, existing)
        return Answer(200 if existing else 201, body)

    def made(self, call: Call, existing: Body | None) -> Body:
        """The resource a PUT leaves behind: what was posted under the service's id, name and type."""
        body: Body = {
            **call.body,
            "id": existing["id"] if existing else self.canonical_id(call.id),
            "name": existing["name"] if existing else call.id.name,
            "type": self.type,
            "properties": {**call.properties, "provisioningState": SUCCEEDED},
        }
        return body

    def keep(self, body: Body, existing: Body | None) -> None:
        """Store a resource and remember when it was first made."""
        self.store.put(body)
        if existing is None:
            self.store.note(body["id"])["created"] = time.time()

    async def patch(self, call: Call) -> Answer:
        found = self.require(call)
        if "tags" in call.body:
            found["tags"] = call.body["tags"] or {}
        found["properties"] = {**found.get("properties", {}), **call.properties}
        self.store.put(found)
        return Answer(200, self.shown(found))

    async def delete(self, call: Call) -> Answer:
        found = self.store.get(call.id.text)
        if found is None:
            return Answer(204)
        await self.destroy(found)
        return Answer(200)

    async def destroy(self, body: Body) -> None:
        """Remove a resource and all that is nested in it or attached to it."""
        self.store.remove_below(body["id"])
        self.store.remove(body["id"])

    async def act(self, call: Call) -> Answer:
        if not keys.always_there(self.type, call.id.name):
            self.require(call)
        answer = keys.answer(self.store, self.type, call)
        if answer is not None:
            return answer
        raise ArmError(
            404, "NotFound", f"The action '{call.action}' is not known for resource type '{self.type}'."
        )

    def begin(self, kind: str, call: Call, verb: str, *, running: str, **payload: Any) -> Operation:
        """Begin an asynchronous operation whose end publishes the event of this call."""
        namespace_action = f"{self.type}/{verb.lower()}"
        event = {
            "verb": verb,
            "resource_id": call.id.text,
            "operation_name": namespace_action,
            "caller": call.caller,
            "correlation_id": call.correlation_id,
            "method": call.method,
            "url": call.url,
        }
        return self.world.operations.begin(kind, call.id.text, running=running, event=event, **payload)


def require_location(call: Call) -> str:
    """The ``location`` of a tracked resource.

    Raises:
        ArmError: 400 ``LocationRequired``.
    """
    location = call.body.get("location")
    if not isinstance(location, str) or not location:
        raise bad_request("LocationRequired", "The location property is required for this definition.")
    return location.replace(" ", "").lower()
