"""User-assigned managed identities, as Managed Service Identity answers for them."""

from __future__ import annotations

import uuid

from sandbox.arm.call import Answer, Call
from sandbox.arm.directory import IDENTITIES
from sandbox.arm.provider import ResourceType, require_location
from sandbox.arm.store import Body


class Identities(ResourceType):
    """PUT is synchronous and repeatable; principal and client ids never change while it lives.

    Deleting an identity takes its credentials along and leaves its role assignments behind.
    """

    type = IDENTITIES
    lower_case_group = True

    async def put(self, call: Call) -> Answer:
        existing = self.store.get(call.id.text)
        if existing is not None:
            existing["tags"] = call.body.get("tags") or {}
            self.store.put(existing)
            return Answer(200, existing)
        body = self.identity(self.canonical_id(call.id), require_location(call), call.body.get("tags") or {})
        self.keep(body, None)
        return Answer(201, body, {"Location": body["id"]})

    def identity(
        self,
        resource_id: str,
        location: str,
        tags: dict[str, str],
        *,
        principal_id: str = "",
        client_id: str = "",
    ) -> Body:
        """A new identity with a principal of its own."""
        return {
            "location": location,
            "tags": tags,
            "id": resource_id,
            "name": resource_id.rsplit("/", 1)[-1],
            "type": self.type,
            "properties": {
                "tenantId": self.world.topology.tenant_id,
                "principalId": principal_id or str(uuid.uuid4()),
                "clientId": client_id or str(uuid.uuid4()),
            },
        }

    async def patch(self, call: Call) -> Answer:
        found = self.require(call)
        if "tags" in call.body:
            found["tags"] = call.body["tags"] or {}
            self.store.put(found)
        return Answer(200, found)
