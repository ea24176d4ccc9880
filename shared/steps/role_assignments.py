"""The workload's identity has the target's data roles, and nothing more.

Granted before the workload can hold a token (the credential comes later in the plan), and revoked
first when the connection goes. The principal type is always sent, which avoids PrincipalNotFound
for a young identity (Azure RBAC documentation, aka.ms/docs-principaltype).
"""

from __future__ import annotations

from typing import Any

from shared import naming
from shared.models import Done, Finding, Provenance
from shared.ports import RoleAssignment
from shared.steps.adopted import still_relied_on
from shared.steps.base import StepContext, found, role_thing
from shared.steps.removal import Removal, forget, require_still_gone


class RoleAssignments:
    """The role assignments exist, or are gone with their last user."""

    name = "role_assignments"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Say of each recorded assignment whether it exists with the right principal and role."""
        if ctx.for_pruning_only:
            return []
        findings: list[Finding] = []
        for item in _made(ctx):
            there = await ctx.outside.roles.get(item["scope"], item["name"])
            ok = there is not None and there.principal_id.lower() == str(item["principalId"]).lower()
            findings.append(found("role-assigned", ok=ok, detail=str(item["role"])))
        if not findings and ctx.adopted:
            # Service Connector also grants by other means than roles, such as a vault's access policies.
            return [Finding(name="role-assigned", result="unknown", detail="none was seen on the target")]
        return findings or [found("role-assigned", ok=False, detail="none recorded")]

    async def apply(self, ctx: StepContext) -> Done:
        """Make sure of every role of the target's row.

        Raises:
            NotYetError: ``closing``.
        """
        spec = ctx.connection.spec
        principal_id = ctx.output("managed_identity", "principalId")
        scope = ctx.target.scope(spec.target_id)
        subscription = naming.subscription_of(spec.target_id)
        items = [
            {
                "role": role.name,
                "scope": scope,
                "principalId": principal_id,
                "roleDefinitionId": _definition_id(subscription, role.id),
                "name": naming.role_assignment_name(scope, principal_id, role.id),
            }
            for role in ctx.target.roles
        ]
        await ctx.recorder.intend({"assignments": items, "provenance": Provenance.CREATED})
        made: list[dict[str, Any]] = []
        for item in items:
            await ctx.users.join(role_thing(item), ctx.user, settled=ctx.recorder.settled)
            assignment = await ctx.outside.roles.ensure(
                RoleAssignment(
                    scope=item["scope"],
                    name=item["name"],
                    principal_id=principal_id,
                    role_definition_id=item["roleDefinitionId"],
                    description=f"mooring workload {ctx.workload_key}",
                ),
            )
            # An equal assignment under another name was there before us: it is used, never deleted.
            provenance = Provenance.ADOPTED if assignment.existing else Provenance.CREATED
            made.append({**item, "name": assignment.name, "provenance": provenance})
        return Done(outputs={"assignments": made})

    async def revert(self, ctx: StepContext) -> Done:
        """Revoke each assignment with its last user.

        Only the name that we compute is ever deleted: an equal assignment that somebody else made has
        another one.
        """
        removal = Removal()
        await require_still_gone(ctx)
        for item in _planned(ctx):
            adopted = item["provenance"] == Provenance.ADOPTED
            reason = await still_relied_on(ctx, item) if adopted else ""
            if ctx.operation.report_only:
                if reason:
                    removal.kept.append(f"{item['role']}: {reason}")
                else:
                    removal.would.append(f"revoke {item['role']} unless shared")
                continue
            thing = role_thing(item)
            leaving = await ctx.users.leave(thing, ctx.user, operation_id=ctx.operation.operation_id)
            if leaving.shared:
                removal.kept.append(f"{item['role']}: still used")
                continue
            if reason:
                removal.kept.append(f"{item['role']}: {reason}")
                await forget(ctx, thing)
                continue
            if leaving.last:
                await ctx.outside.roles.delete(item["scope"], item["name"])
                await forget(ctx, thing)
            kept = {"scope": item["scope"], "name": item["name"], "role": item["role"]}
            provenance = str(item.get("provenance", ""))
            removal.removed.append({"kind": "role", "thing": thing, "provenance": provenance, **kept})
        return removal.done()


def _planned(ctx: StepContext) -> list[dict[str, Any]]:
    """Everything that was ever meant to be assigned in this life, under the names that we compute."""
    return [
        {**item, "provenance": plan.planned.get("provenance", "")}
        for plan in ctx.plans
        for item in plan.planned.get("assignments", ())
    ]


def _made(ctx: StepContext) -> list[dict[str, Any]]:
    return [dict(item) for item in ctx.intent.outputs.get("assignments", ())] if ctx.intent else []


def _definition_id(subscription: str, role_id: str) -> str:
    return f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role_id}"
