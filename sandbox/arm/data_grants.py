"""Data rights that Cosmos DB and Redis keep themselves: begun by a write, one change of a resource at a time.

Shapes and status codes follow the REST reference (SQL Resources - Create Update Sql Role Assignment; Access
Policy Assignment - Create Update); refusals follow what users report of them. Not recorded.
"""

from __future__ import annotations

import abc
import uuid
from collections.abc import Mapping
from typing import Any

from sandbox.arm.call import Answer, Call
from sandbox.arm.errors import ArmError, bad_request
from sandbox.arm.ids import id_key, is_at_or_below, parse_id
from sandbox.arm.operations import Operation
from sandbox.arm.provider import SUCCEEDED, ResourceType
from sandbox.arm.store import Body
from sandbox.arm.world import World

DATA_ROLES = {
    "00000000-0000-0000-0000-000000000001": "Cosmos DB Built-in Data Reader",
    "00000000-0000-0000-0000-000000000002": "Cosmos DB Built-in Data Contributor",
}
ACCESS_POLICIES = frozenset({"Data Reader", "Data Contributor", "Data Owner"})
COSMOS_LIMIT = 2000
"""Role assignments of one account."""
RETRY_AFTER_SECONDS = 15


class DataGrants(ResourceType, abc.ABC):
    """What both services have in common: a write is accepted, and refused while another one runs."""

    kind = ""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        world.operations.register(f"{self.kind}-put", self._finish_put)
        world.operations.register(f"{self.kind}-delete", self._finish_delete)

    def not_found(self, call: Call) -> ArmError:
        return ArmError(404, "NotFound", f"The grant '{call.id.name}' was not found.")

    @abc.abstractmethod
    def busy(self, owner: str) -> ArmError:
        """The refusal while another change of the resource runs."""

    def made(self, call: Call, existing: Body | None) -> Body:
        return {
            "id": existing["id"] if existing else self.canonical_id(call.id),
            "name": call.id.name,
            "type": self.type,
            "properties": dict(self.checked(call)),
        }

    @abc.abstractmethod
    def checked(self, call: Call) -> Mapping[str, Any]:
        """Properties of a grant as the service keeps them.

        Raises:
            ArmError: 400 in the service's words.
        """

    def begun(self, verb: str, call: Call, **payload: Any) -> Operation:
        """Begin a change.

        Raises:
            ArmError: another change of the same resource runs.
        """
        owner = id_key(call.id.parent)
        for known in self.store.operations.values():
            running = known["status"] == known["running"] and known["kind"].startswith(f"{self.kind}-")
            if running and id_key(parse_id(known["resourceId"]).parent) == owner:
                raise self.busy(parse_id(call.id.parent).name)
        return self.begin(f"{self.kind}-{verb.lower()}", call, _VERBS[verb], running="InProgress", **payload)

    def headers(self, operation: Operation, call: Call) -> dict[str, str]:
        """Where the operation can be polled."""
        location, namespace = self.world.topology.location, self.type.split("/")[0]
        where = f"/subscriptions/{call.id.subscription}/providers/{namespace}/locations/{location}"
        poll, retry = self.world.operations, RETRY_AFTER_SECONDS
        return {
            "Azure-AsyncOperation": poll.url(
                f"{where}/operationsStatus/{operation['name']}", call.api_version
            ),
            "Location": poll.url(f"{where}/operationResults/{operation['name']}", call.api_version),
            "Retry-After": poll.retry_after(retry),
        }

    async def delete(self, call: Call) -> Answer:
        if self.store.get(call.id.text) is None and not self._running(call):
            return Answer(204)
        operation = self.begun("DELETE", call)
        found = self.store.get(call.id.text)
        if found is not None and "provisioningState" in found["properties"]:
            found["properties"]["provisioningState"] = "Deleting"
        return Answer(202, None, self.headers(operation, call), accepted=True)

    def _running(self, call: Call) -> bool:
        return any(
            known["status"] == known["running"] and id_key(known["resourceId"]) == call.id.key
            for known in self.store.operations.values()
        )

    async def _finish_put(self, operation: Operation) -> None:
        body = operation["payload"]["body"]
        if self.store.get(parse_id(body["id"]).parent) is None:
            return  # its resource was deleted meanwhile
        if "provisioningState" in body["properties"]:
            body["properties"]["provisioningState"] = SUCCEEDED
        self.keep(body, self.store.get(body["id"]))

    async def _finish_delete(self, operation: Operation) -> None:
        self.store.remove(operation["resourceId"])


class CosmosRoleAssignments(DataGrants):
    """Of an account for NoSQL; nothing is to be seen before the write is done."""

    type = "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments"
    kind = "cosmos-grant"

    def busy(self, owner: str) -> ArmError:
        return ArmError(
            412,
            "PreconditionFailed",
            "There is another user operation in progress which requires an exclusive lock on "
            f"[{owner}]. Please retry after sometime.",
        )

    async def put(self, call: Call) -> Answer:
        body = self.made(call, self.store.get(call.id.text))
        operation = self.begun("PUT", call, body=body)
        return Answer(202, {"status": "Enqueued"}, self.headers(operation, call), accepted=True)

    def checked(self, call: Call) -> Mapping[str, Any]:
        account, given = call.id.parent, call.properties
        role = str(given.get("roleDefinitionId", ""))
        principal, scope = str(given.get("principalId", "")), str(given.get("scope", ""))
        roles = {f"{account}/sqlRoleDefinitions/{guid}".lower() for guid in DATA_ROLES}
        if not _is_guid(call.id.name) or role.lower() not in roles:
            raise bad_request("BadRequest", f"The role assignment {call.id.name} or its role is not valid.")
        if not is_at_or_below(id_key(scope), id_key(account)) or "sqldatabases" in scope.lower():
            raise bad_request("BadRequest", f"The scope [{scope}] is not one of the data plane's.")
        if not self.world.directory.knows(principal):
            raise bad_request("BadRequest", f"The provided principal ID [{principal}] was not found.")
        known = [one for one in self.store.of_type(self.type, account) if one["name"] != call.id.name]
        if len(known) >= COSMOS_LIMIT:
            raise bad_request("BadRequest", f"The account has {COSMOS_LIMIT} role assignments already.")
        return {"roleDefinitionId": role, "scope": scope, "principalId": principal}


class RedisAccessPolicyAssignments(DataGrants):
    """Of a cache; seen from the first moment, with its state. One policy for each principal."""

    type = "Microsoft.Cache/Redis/accessPolicyAssignments"
    kind = "redis-grant"

    def busy(self, owner: str) -> ArmError:
        return ArmError(
            409,
            "Conflict",
            f"The cache '{owner}' is busy processing a previous update request or is undergoing system "
            "maintenance. As such, it is currently unable to accept the update request. Please try "
            "again later.",
        )

    async def put(self, call: Call) -> Answer:
        existing = self.store.get(call.id.text)
        body = self.made(call, existing)
        operation = self.begun("PUT", call, body=body)
        self.keep(body, existing)
        return Answer(200 if existing else 201, body, self.headers(operation, call), accepted=True)

    def checked(self, call: Call) -> Mapping[str, Any]:
        given = call.properties
        policy, principal = str(given.get("accessPolicyName", "")), str(given.get("objectId", ""))
        if policy not in ACCESS_POLICIES or not given.get("objectIdAlias") or not _is_guid(principal):
            raise bad_request("InvalidRequestBody", "The access policy assignment is not valid.")
        for known in self.store.of_type(self.type, call.id.parent):
            same = known["properties"]["objectId"].lower() == principal.lower()
            if same and id_key(known["id"]) != call.id.key:
                raise bad_request(
                    "InvalidAccessPolicyAssignment",
                    "An invalid access policy assignment was detected due to duplicate entries. Please "
                    "review and ensure that each assignment has a unique combination of assignmentName, "
                    "policyName and objectId.",
                )
        return {
            "accessPolicyName": policy,
            "objectId": principal,
            "objectIdAlias": given["objectIdAlias"],
            "provisioningState": "Updating",
        }


_VERBS = {"PUT": "Write", "DELETE": "Delete"}


def _is_guid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
