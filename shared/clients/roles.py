"""Role assignments, through azure-mgmt-authorization.

Names are GUIDs chosen by the caller, so a PUT is repeatable. ``principalType`` is always sent: with it Azure
leaves out the directory look-up that fails for half a minute on a new identity (learn.microsoft.com,
"Assign Azure roles using the REST API", new service principal).
"""

from __future__ import annotations

import builtins
from typing import Any

from shared.clients.arm_connection import ArmConnection, safe_path
from shared.clients.arm_errors import ask, ask_all, failure_of
from shared.clients.error_rules import Intent, Service
from shared.errors import PermanentError, TransientError
from shared.naming import fold_id, subscription_of
from shared.ports import RoleAssignment

EXISTS = "RoleAssignmentExists"
ASSIGNMENTS_LIMIT = 4000
"""Of a subscription (learn.microsoft.com, "Azure subscription and service limits", Azure RBAC limits)."""


class AzureRoles:
    """``ports.Roles`` over Azure.

    Args:
        arm: How to reach Resource Manager.
    """

    def __init__(self, arm: ArmConnection) -> None:
        self._arm = arm
        self._client: Any = None

    async def get(self, scope: str, name: str) -> RoleAssignment | None:
        """Read one assignment."""
        found = await ask(self._assignments(scope).get(_bare(scope), name), Intent.READ)
        return None if found is None else _assignment(found, scope)

    async def ensure(self, assignment: RoleAssignment) -> RoleAssignment:
        """Make one assignment for a service principal.

        An assignment of the same principal, role and scope under another name is returned with
        ``existing`` set. Azure names that case ``RoleAssignmentExists`` (409).

        Raises:
            TransientError: ``role-assignment-exists`` if Azure refuses with that code and its list does
                not show the assignment yet.
        """
        body = {
            "properties": {
                "roleDefinitionId": assignment.role_definition_id,
                "principalId": assignment.principal_id,
                "principalType": "ServicePrincipal",
                **({"description": assignment.description} if assignment.description else {}),
            },
        }
        operations = self._assignments(assignment.scope)
        scope = _bare(assignment.scope)

        async def create() -> Any:
            from azure.core.exceptions import HttpResponseError

            try:
                return await operations.create(scope, assignment.name, body)
            except HttpResponseError as error:
                if failure_of(error, Service.ARM).code != EXISTS:
                    raise
                twin = await self._twin(assignment)
                if twin is None:
                    raise
                return twin

        made = await ask(create(), Intent.ENSURE)
        if made is None:
            raise TransientError("answer-missing", assignment.name)
        return made if isinstance(made, RoleAssignment) else _assignment(made, assignment.scope)

    async def delete(self, scope: str, name: str) -> None:
        """Delete one assignment; absent, or below a deleted scope, is fine."""
        await ask(self._assignments(scope).delete(_bare(scope), name), Intent.DELETE)

    async def list_for_principal(self, scope: str, principal_id: str) -> builtins.list[RoleAssignment]:
        """Assignments of one principal at a scope and below or above it, as Azure lists them."""
        if not _is_guid_like(principal_id):
            raise PermanentError("principal-invalid", principal_id)

        pages = self._assignments(scope).list_for_scope(
            _bare(scope), filter=f"principalId eq '{principal_id}'"
        )
        return [_assignment(found, found.scope or scope) for found in await ask_all(pages) or []]

    async def list(self, scope: str) -> builtins.list[RoleAssignment]:
        """All assignments at a scope and below it; empty if the scope is gone.

        Azure's list has those above the scope too (Role Assignments - List For Scope): they are left out.
        """
        listed = await ask_all(self._assignments(scope).list_for_scope(_bare(scope)))
        found = [_assignment(one, one.scope or scope) for one in listed or []]
        own = [one for one in found if f"{fold_id(one.scope)}/".startswith(f"{fold_id(scope)}/")]
        if fold_id(scope) == f"/subscriptions/{subscription_of(scope)}":
            self._arm.telemetry.measure("role_assignments_used_ratio", len(own) / ASSIGNMENTS_LIMIT)
        return own

    async def aclose(self) -> None:
        """Close the SDK's client."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _twin(self, wanted: RoleAssignment) -> RoleAssignment | None:
        role = _role(wanted.role_definition_id)
        for found in await self.list_for_principal(wanted.scope, wanted.principal_id):
            same_place = fold_id(found.scope) == fold_id(wanted.scope)
            if same_place and _role(found.role_definition_id) == role:
                return RoleAssignment(
                    scope=wanted.scope,
                    name=found.name,
                    principal_id=found.principal_id,
                    role_definition_id=found.role_definition_id,
                    description=found.description,
                    existing=found.name.lower() != wanted.name.lower(),
                )
        return None

    def _assignments(self, scope: str) -> Any:
        safe_path(scope)
        if self._client is None:
            from azure.mgmt.authorization.v2022_04_01.aio import AuthorizationManagementClient

            # The subscription is a constructor's formality: every call of ours names its scope.
            self._client = AuthorizationManagementClient(
                self._arm.credential,
                subscription_of(scope),
                **self._arm.options(),
            )
        return self._client.role_assignments


def _bare(scope: str) -> str:
    """The SDK's URLs have a slash before the scope already."""
    return scope.strip("/")


def _role(role_definition_id: str) -> str:
    return role_definition_id.rsplit("/", 1)[-1].lower()


def _is_guid_like(text: str) -> bool:
    return bool(text) and text.replace("-", "").isalnum()


def _assignment(found: Any, scope: str) -> RoleAssignment:
    return RoleAssignment(
        scope=scope,
        name=found.name or "",
        principal_id=found.principal_id or "",
        role_definition_id=found.role_definition_id or "",
        description=found.description or "",
    )
