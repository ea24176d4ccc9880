"""Data rights that a service keeps itself, through the generic client: one class, a dialect for each service.

Writes are asynchronous and take seconds. None is waited for here: what Azure has begun is a ``grant-pending``
for the step to look at again. A resource takes one change at a time and refuses others meanwhile, so a delete
that overtakes a write is refused and tried again, and never finds "not there" too early.
"""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Mapping
from typing import Any

from shared.clients.arm_connection import ArmConnection, items_of
from shared.clients.arm_errors import ask
from shared.clients.error_rules import Intent
from shared.clients.grant_dialects import Dialect
from shared.errors import NotYetError, PermanentError, TransientError
from shared.naming import fold_id, resource_of
from shared.ports import RoleAssignment

_AT_REST = frozenset({"", "succeeded"})
_BROKEN = frozenset({"failed", "canceled"})


class ServiceGrants:
    """``ports.Grants`` over Azure.

    Args:
        arm: How to reach Resource Manager.
        dialect: Whose grants they are.
    """

    def __init__(self, arm: ArmConnection, dialect: Dialect) -> None:
        self._arm = arm
        self._dialect = dialect

    async def get(self, scope: str, name: str) -> RoleAssignment | None:
        """Read one, with the scope that it has; ``None`` if it or its resource is gone."""
        found = await self._answer(scope, name)
        return None if found is None else self._grant(scope, found)

    async def ensure(self, assignment: RoleAssignment) -> RoleAssignment:
        """Make one; an equal one under another name is returned as ``existing``.

        Raises:
            NotYetError: ``grant-pending``, ``target-updating``.
            PermanentError: ``role-assignment-foreign``, ``access-policy-taken``.
        """
        found = await self._answer(assignment.scope, assignment.name)
        if found is None:
            twin = await self._twin(assignment)
            if twin is not None:
                return twin
        else:
            known = self._grant(assignment.scope, found)
            if grant_key(known) != grant_key(assignment):
                raise PermanentError(
                    "role-assignment-foreign",
                    f"{self._dialect.collection} {assignment.name} is another grant",
                    remedy="az resource delete --ids "
                    + self._dialect.path(assignment.scope, assignment.name),
                )
            if _state(found) not in _BROKEN:
                _require_rest(found)
                return dataclasses.replace(known, scope=assignment.scope)
        body = {"properties": self._dialect.properties(assignment)}
        written = await ask(
            self._arm.send(
                "PUT",
                self._dialect.path(assignment.scope, assignment.name),
                api_version=self._dialect.api_version,
                body=body,
            ),
            Intent.ENSURE,
            service=self._dialect.service,
        )
        if written is None:
            raise TransientError("answer-missing", assignment.name)
        if written.accepted:
            raise NotYetError("grant-pending", f"{assignment.name} is being made")
        _require_rest(written.body)
        return assignment

    async def delete(self, scope: str, name: str) -> None:
        """Delete one; absent, or below a deleted resource, is fine.

        Raises:
            NotYetError: ``grant-pending``, ``target-updating``.
        """
        written = await ask(
            self._arm.send("DELETE", self._dialect.path(scope, name), api_version=self._dialect.api_version),
            Intent.DELETE,
            service=self._dialect.service,
        )
        if written is not None and written.accepted:
            raise NotYetError("grant-pending", f"{name} is being deleted")

    async def list(self, scope: str) -> builtins.list[RoleAssignment]:
        """All at a scope and below it; empty if the resource is gone.

        Raises:
            TransientError: ``list-broken``: a list that may have holes is none.
        """
        found: builtins.list[RoleAssignment] = []
        first = page = self._dialect.path(scope)
        while page:
            asked = self._arm.get_json(page, api_version=self._dialect.api_version)
            body = await ask(asked, Intent.READ, service=self._dialect.service)
            if body is None and page != first:
                raise TransientError("list-broken", "a page of the grants is missing")
            if body is None:
                return []
            found += [self._grant(scope, item) for item in items_of(body)]
            page = body.get("nextLink") or ""
        return [one for one in found if f"{fold_id(one.scope)}/".startswith(f"{fold_id(scope)}/")]

    async def aclose(self) -> None:
        """Nothing is open here; the ARM connection is closed by whoever made it."""

    async def _answer(self, scope: str, name: str) -> Mapping[str, Any] | None:
        asked = self._arm.get_json(self._dialect.path(scope, name), api_version=self._dialect.api_version)
        return await ask(asked, Intent.READ, service=self._dialect.service)

    async def _twin(self, wanted: RoleAssignment) -> RoleAssignment | None:
        for known in await self.list(resource_of(wanted.scope)):
            if known.principal_id.lower() != wanted.principal_id.lower():
                continue
            if grant_key(known) == grant_key(wanted):
                # Under our own name it has come between the two looks.
                existing = known.name.lower() != wanted.name.lower()
                return dataclasses.replace(known, scope=wanted.scope, existing=existing)
            if self._dialect.one_each:
                raise policy_taken(known)
        return None

    def _grant(self, scope: str, found: Mapping[str, Any]) -> RoleAssignment:
        return self._dialect.read(
            resource_of(scope), str(found.get("name") or ""), found.get("properties") or {}
        )


def grant_key(one: RoleAssignment) -> tuple[str, str, str]:
    """Folded scope, principal and role: what makes two grants equal."""
    role = one.role_definition_id.rsplit("/", 1)[-1].lower()
    return fold_id(one.scope), one.principal_id.lower(), role


def policy_taken(known: RoleAssignment) -> PermanentError:
    """The error of a principal that has another access policy of the same resource."""
    policy = known.role_definition_id.rsplit("/", 1)[-1]
    path = f"{resource_of(known.scope)}/accessPolicyAssignments/{known.name}"
    return PermanentError(
        "access-policy-taken",
        f"the identity has the access policy {policy} there already, and can have one only",
        remedy=f"ask for the same intent, or az resource delete --ids {path}",
    )


def _state(found: Mapping[str, Any]) -> str:
    return str((found.get("properties") or {}).get("provisioningState") or "").lower()


def _require_rest(found: Mapping[str, Any]) -> None:
    state = _state(found)
    if state not in _AT_REST:
        raise NotYetError("grant-pending", f"the grant is {state}")
