"""Role definitions: the built-in ones and those a tenant writes itself; permissions of the caller."""

from __future__ import annotations

from sandbox.arm.access import DEFINITIONS, built_in_roles
from sandbox.arm.call import Answer, Call, filter_terms, utc_now
from sandbox.arm.errors import ArmError, bad_request
from sandbox.arm.provider import ResourceType
from sandbox.arm.store import Body


class RoleDefinitions(ResourceType):
    """Built-in roles cannot be changed; custom ones are checked for name and permissions."""

    type = DEFINITIONS

    def _built_in(self, guid: str, subscription: str) -> Body:
        prefix = f"/subscriptions/{subscription}" if subscription else ""
        return {
            "properties": built_in_roles()[guid],
            "id": f"{prefix}/providers/Microsoft.Authorization/roleDefinitions/{guid}",
            "type": self.type,
            "name": guid,
        }

    def not_found(self, call: Call) -> ArmError:
        return ArmError(
            404,
            "RoleDefinitionDoesNotExist",
            f"The specified role definition with ID '{call.id.name.replace('-', '')}' does not exist.",
        )

    async def get(self, call: Call) -> Answer:
        guid = call.id.name.lower()
        if guid in built_in_roles():
            return Answer(200, self._built_in(guid, call.id.subscription))
        for body in self.store.of_type(self.type):
            if body["name"].lower() == guid:
                return Answer(200, body)
        raise self.not_found(call)

    async def list(self, call: Call) -> Answer:
        terms = filter_terms(call.query.get("$filter", ""))
        rows = [self._built_in(guid, call.id.subscription) for guid in built_in_roles()]
        rows.extend(self.store.of_type(self.type))
        if "rolename" in terms:
            rows = [row for row in rows if row["properties"]["roleName"].lower() == terms["rolename"].lower()]
        if "type" in terms:
            rows = [row for row in rows if row["properties"]["type"].lower() == terms["type"].lower()]
        return Answer(200, {"value": rows})

    async def put(self, call: Call) -> Answer:
        guid = call.id.name.lower()
        properties = call.properties
        if guid in built_in_roles():
            raise bad_request(
                "RoleDefinitionUpdateNotPermitted", "Built-in role definitions cannot be changed."
            )
        if not properties.get("roleName"):
            raise bad_request("InvalidRoleDefinitionName", "The role definition name is required.")
        for other in (await self.list(call)).body["value"]:
            same_name = other["properties"]["roleName"].lower() == str(properties["roleName"]).lower()
            if same_name and other["name"].lower() != guid:
                raise ArmError(
                    409,
                    "RoleDefinitionWithSameNameExists",
                    "A custom role with the same name already exists in this directory. Use a "
                    "different name: "
                    f"'{properties['roleName']}'.",
                )
        existing = self.store.get(call.id.text)
        body: Body = {
            "properties": {
                "description": "",
                "assignableScopes": [call.id.scope],
                "permissions": [],
                **properties,
                "type": "CustomRole",
                "createdOn": utc_now(),
                "updatedOn": utc_now(),
                "createdBy": call.caller,
                "updatedBy": call.caller,
            },
            "id": self.canonical_id(call.id),
            "type": self.type,
            "name": call.id.name,
        }
        self.keep(body, existing)
        return Answer(201, body)


class Permissions(ResourceType):
    """``GET {scope}/providers/Microsoft.Authorization/permissions``: what the caller may do there."""

    type = "Microsoft.Authorization/permissions"

    async def list(self, call: Call) -> Answer:
        return Answer(200, {"value": self.world.access.permissions(call.caller, call.id.scope)})
