"""Role assignments at any scope, with the refusals of Microsoft.Authorization."""

from __future__ import annotations

import copy
import uuid

from sandbox.arm.access import ASSIGNMENTS
from sandbox.arm.call import Answer, Call, filter_terms, utc_now
from sandbox.arm.errors import ArmError, bad_request
from sandbox.arm.ids import id_key, is_at_or_below
from sandbox.arm.provider import ResourceType
from sandbox.arm.store import Body

ASSIGNMENT_LIMIT = 4000
"""Per subscription, all scopes below it counted."""


def _is_guid(text: object) -> bool:
    try:
        uuid.UUID(str(text))
    except ValueError:
        return False
    return True


def _role_guid(definition_id: str) -> str:
    return definition_id.rstrip("/").rsplit("/", 1)[-1].lower()


class RoleAssignments(ResourceType):
    """Names are GUIDs of the caller; the triple scope, principal, role exists once."""

    type = ASSIGNMENTS

    def not_found(self, call: Call) -> ArmError:
        return ArmError(404, "RoleAssignmentNotFound", f"The role assignment '{call.id.name}' is not found.")

    async def put(self, call: Call) -> Answer:
        wanted = self._checked(call)
        properties = wanted["properties"]
        same_name = [
            body for body in self.store.of_type(self.type) if body["name"].lower() == call.id.name.lower()
        ]
        for body in same_name:
            if _triple(body) != _triple(wanted):
                raise bad_request(
                    "RoleAssignmentUpdateNotPermitted",
                    "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
                )
            known = body["properties"]
            for part in ("description", "condition", "conditionVersion"):
                known[part] = properties[part]
            known["updatedOn"], known["updatedBy"] = utc_now(), call.caller
            self.store.put(body)
            return Answer(201, self._as_put(body))
        for body in self.store.of_type(self.type):
            if _triple(body) == _triple(wanted):
                raise ArmError(
                    409,
                    "RoleAssignmentExists",
                    "The role assignment already exists. The ID of the existing role assignment is "
                    f"{body['name'].replace('-', '')}.",
                )
        subscription = f"/subscriptions/{call.id.subscription}"
        if sum(1 for _ in self.store.of_type(self.type, subscription)) >= ASSIGNMENT_LIMIT:
            raise bad_request(
                "RoleAssignmentLimitExceeded",
                f"No more role assignments can be created (the limit is {ASSIGNMENT_LIMIT}).",
            )
        self.keep(wanted, None)
        return Answer(201, self._as_put(wanted))

    @staticmethod
    def _as_put(body: Body) -> Body:
        """A PUT answers without the creator; a GET shows it."""
        shown = copy.deepcopy(body)
        shown["properties"]["createdBy"] = None
        return shown

    def _checked(self, call: Call) -> Body:
        properties = call.properties
        principal = str(properties.get("principalId", ""))
        definition = str(properties.get("roleDefinitionId", ""))
        if not _is_guid(call.id.name):
            raise bad_request(
                "InvalidRoleAssignmentId",
                f"The role assignment ID '{call.id.name}' is not valid. The role assignment ID "
                "must be a GUID.",
            )
        if not _is_guid(principal):
            raise bad_request(
                "InvalidPrincipalId",
                f"The Principal ID '{principal}' is not valid. Principal ID must be a GUID.",
            )
        if self.world.access.role(definition) is None:
            raise bad_request(
                "RoleDefinitionDoesNotExist",
                "The specified role definition with ID "
                f"'{_role_guid(definition).replace('-', '')}' does not exist.",
            )
        kind = properties.get("principalType")
        if kind != "ServicePrincipal" and not self.world.directory.knows(principal):
            raise bad_request(
                "PrincipalNotFound",
                f"Principal {principal.replace('-', '')} does not exist in the directory "
                f"{self.world.topology.tenant_id}. Check that you have the correct principal ID. If you are "
                "creating this principal and then immediately assigning a role, this error "
                "might be related to "
                "a replication delay. In this case, set the role assignment principalType "
                "property to a value, "
                "such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
            )
        now = utc_now()
        return {
            "properties": {
                "roleDefinitionId": f"/subscriptions/{call.id.subscription}/providers/"
                f"Microsoft.Authorization/roleDefinitions/{_role_guid(definition)}",
                "principalId": principal,
                "principalType": kind or "ServicePrincipal",
                "scope": call.id.scope,
                "condition": properties.get("condition"),
                "conditionVersion": properties.get("conditionVersion"),
                "createdOn": now,
                "updatedOn": now,
                "createdBy": call.caller,
                "updatedBy": call.caller,
                "delegatedManagedIdentityResourceId": None,
                "description": properties.get("description"),
            },
            "id": self.canonical_id(call.id),
            "type": self.type,
            "name": call.id.name,
        }

    async def delete(self, call: Call) -> Answer:
        found = self.store.remove(call.id.text)
        return Answer(204) if found is None else Answer(200, found)

    async def list(self, call: Call) -> Answer:
        terms = filter_terms(call.query.get("$filter", ""))
        here = id_key(call.id.scope)
        principal = (terms.get("principalid") or terms.get("assignedto") or "").lower()
        rows = []
        for body in self.store.of_type(self.type):
            scope = id_key(body["properties"]["scope"])
            above = is_at_or_below(here, scope)
            below = is_at_or_below(scope, here) and "atscope" not in terms
            if (above or below) and principal in {"", body["properties"]["principalId"].lower()}:
                rows.append(body)
        return self.page(call, rows)


def _triple(body: Body) -> tuple[str, str, str]:
    properties = body["properties"]
    return (
        id_key(properties["scope"]),
        properties["principalId"].lower(),
        _role_guid(properties["roleDefinitionId"]),
    )
