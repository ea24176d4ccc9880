"""The workload's identity has the target's data roles, and nothing more.

Azure's roles, or those that the target's service keeps itself (``granting.py``).

Granted before the workload can hold a token (the credential comes later in the plan), and revoked
first when the connection goes. The principal type is always sent, which avoids PrincipalNotFound
for a young identity (Azure RBAC documentation, aka.ms/docs-principaltype).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.models import Done, Finding, Kind, Provenance
from shared.ports import Grants, RoleAssignment, Roles
from shared.steps.adopted import known_as_ours, still_relied_on
from shared.steps.base import StepContext, found, role_thing
from shared.steps.granting import KIND, item_of, kind_of, port_of
from shared.steps.left_to_linkers import leave_role_to, only_linkers_stay
from shared.steps.linked import linker_of_role, reason_of
from shared.steps.out_of_reach import keep_out_of_reach
from shared.steps.removal import MADE_AGAIN, Removal, forget, leave, require_still_gone, take_up
from shared.target_parts import AZURE_ROLE
from shared.users import Leaving

EARLIER_PLANS = 4
"""Earlier plans that stay on record though nothing is left of them: a row has room for a few dozen."""


class RoleAssignments:
    """The role assignments exist, or are gone with their last user."""

    name = "role_assignments"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Say of each recorded assignment whether it exists with the right principal and role."""
        if ctx.for_pruning_only:
            return []
        findings: list[Finding] = []
        for item in _made(ctx):
            there = await _port(ctx, item).get(item["scope"], item["name"])
            ok = there is not None and (
                there.principal_id.lower() == str(item["principalId"]).lower()
                and role_thing(item) == role_thing({**item, "roleDefinitionId": there.role_definition_id})
            )
            findings.append(found("role-assigned", ok=ok, detail=f"{item['role']} on {item['scope']}"))
        if not findings and ctx.adopted:
            # Service Connector also grants by other means than roles, such as a vault's access policies.
            return [Finding(name="role-assigned", result="unknown", detail="none was seen on the target")]
        return findings or [found("role-assigned", ok=False, detail="none recorded")]

    async def apply(self, ctx: StepContext) -> Done:
        """Make sure of every role of the target's row.

        Raises:
            NotYetError: ``closing``, or ``settle`` after revoking what an earlier create gave;
                ``grant-pending`` or ``target-updating`` where a service keeps its roles itself.
        """
        spec, kind = ctx.connection.spec, ctx.target.grants
        principal_id = ctx.output("managed_identity", "principalId")
        scope = ctx.target.scope(spec.target_id)
        items = [
            item_of(kind, role, scope=scope, principal_id=principal_id)
            for role in ctx.target.roles(spec.intent, variant=ctx.facts.get("variant", ""))
        ]
        keep = {role_thing(item) for item in items}
        await ctx.recorder.intend({"assignments": items, "provenance": Provenance.CREATED})
        made: list[dict[str, Any]] = []
        if kind.one_each:
            await self._revoke_earlier(ctx, keep=keep)
        for item in items:
            await ctx.users.join(role_thing(item), ctx.user, settled=ctx.recorder.settled)
            assignment = await _port(ctx, item).ensure(
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
        stays = await self._revoke_earlier(ctx, keep=keep)
        return Done(outputs={"assignments": made}, earlier_plans=await _needed(ctx, stays=stays))

    async def revert(self, ctx: StepContext) -> Done:
        """Revoke each assignment with its last user.

        Only the name that we compute is ever deleted: an equal assignment that somebody else made has
        another one.
        """
        removal = Removal()
        await require_still_gone(ctx)
        for item in _planned(ctx):
            names = ("scope", "name", "role", "principalId", KIND)
            shown = {"kind": "role", **{name: item[name] for name in names if name in item}}
            try:
                await self._take_back(ctx, removal, item, shown)
            except PermanentError as error:
                await keep_out_of_reach(ctx, removal, item, shown, error, thing=role_thing(item))
        return removal.done()

    async def _take_back(
        self, ctx: StepContext, removal: Removal, item: Mapping[str, Any], shown: Mapping[str, Any]
    ) -> None:
        thing = role_thing(item)
        adopted = await _adopted(ctx, item)
        linker = None if adopted else await linker_of_role(ctx, item)
        reason = await still_relied_on(ctx, item) if adopted else reason_of(linker) if linker else ""
        rule = "still-relied-on" if adopted else "live-linker"
        if not reason and (reason := await _foreign(ctx, item)):
            rule = "not-proven-ours"
        if ctx.operation.report_only:
            shared = await ctx.users.get(thing)
            if shared is not None and set(shared.users) - {ctx.user}:
                removal.keep(shown, "still-shared", "still used")
            elif reason:
                removal.keep(shown, rule, reason)
            else:
                removal.say(shown, "last-user", restorable="no", why=MADE_AGAIN)
            return
        if linker and item["provenance"] == Provenance.ADOPTED and await only_linkers_stay(ctx, thing):
            # The users row alone proves it ours, and goes with its last user.
            await leave_role_to(ctx, linker, item)
        leaving = await _revoke(ctx, item, kept=bool(reason))
        if linker and (not leaving.shared or await only_linkers_stay(ctx, thing)):
            await leave_role_to(ctx, linker, item)
        elif leaving.shared:
            removal.keep(shown, "still-shared", "still used")
            return
        if reason:
            if leaving.last:
                await forget(ctx, thing)
            removal.keep(shown, rule, reason)
            return
        if not leaving.last and not adopted:
            await _remove_left(ctx, item)
        gone = {**shown, "thing": thing, "provenance": str(item["provenance"])}
        why = "last-user" if leaving.last else "already-gone"
        removal.remove(gone, why, restorable="no", why=MADE_AGAIN)

    async def _revoke_earlier(self, ctx: StepContext, *, keep: set[str]) -> bool:
        """Revoke what this life was given before and is not given any more; says whether some of it stays.

        A create that narrows the intent, or names another target, would else leave the wider right behind
        until the connection is deleted.
        """
        stays = False
        for item in _planned(ctx):
            if role_thing(item) in keep:
                continue
            if item["provenance"] == Provenance.ADOPTED:
                stays = True
                continue
            if await linker_of_role(ctx, item) or await _foreign(ctx, item):
                # Its plan stays on record, and so does the user: a later removal looks again.
                stays = True
                continue
            await _revoke(ctx, item)
        return stays


async def _needed(ctx: StepContext, *, stays: bool) -> int | None:
    """How many earlier plans a removal has to look at still; ``None``: all.

    A connection that is updated again and again, each time to another part of its target, would else outgrow
    its row. What was planned long ago is revoked, and no write of it can land any more.
    """
    if stays or len(ctx.plans) <= EARLIER_PLANS or await ctx.recorder.in_doubt_seconds(removals=False):
        return None
    return EARLIER_PLANS


async def _revoke(ctx: StepContext, item: Mapping[str, Any], *, kept: bool = False) -> Leaving:
    """Leave an assignment, and revoke it with its last user.

    One that is ``kept`` for others is not revoked, and its row is the caller's to pass on or to forget.
    """
    thing = role_thing(item)
    leaving = await leave(ctx, thing)
    if leaving.last and not kept:
        await _port(ctx, item).delete(item["scope"], item["name"])
        # A life that planned other roles before may have had some of them revoked by a create.
        by_creates = ctx.operation.kind is Kind.CREATE or len(ctx.plans) > 1
        await forget(ctx, thing, by_creates=by_creates)
    return leaving


async def _adopted(ctx: StepContext, item: Mapping[str, Any]) -> bool:
    """Say whether a role was adopted, and not one under our name that is on record as ours."""
    if item["provenance"] != Provenance.ADOPTED:
        return False
    scope, principal_id = str(item["scope"]), str(item["principalId"])
    name = naming.role_assignment_name(scope, principal_id, str(item["roleDefinitionId"]))
    return str(item["name"]).lower() != name or not await known_as_ours(ctx, role_thing(item))


async def _remove_left(ctx: StepContext, item: Mapping[str, Any]) -> None:
    """Remove what is there and has no users: not after the identity, as ``verify_gone`` would."""
    thing, port = role_thing(item), _port(ctx, item)
    if await port.get(item["scope"], item["name"]) is not None and await take_up(ctx, thing):
        await port.delete(item["scope"], item["name"])
        await forget(ctx, thing, by_creates=len(ctx.plans) > 1)


async def _foreign(ctx: StepContext, item: Mapping[str, Any]) -> str:
    """Why a service's own grant under our name is not ours, empty if it is, or is not there.

    Azure never lets an assignment's principal be changed (``RoleAssignmentUpdateNotPermitted``); of what the
    services keep themselves that is not known, so it is looked at.
    """
    if kind_of(item) is AZURE_ROLE:
        return ""
    there = await _port(ctx, item).get(item["scope"], item["name"])
    if there is None or there.principal_id.lower() == str(item["principalId"]).lower():
        return ""
    return f"it is of the principal {there.principal_id} by now"


def _port(ctx: StepContext, item: Mapping[str, Any]) -> Grants | Roles:
    return port_of(ctx.outside, kind_of(item))


def _planned(ctx: StepContext) -> list[dict[str, Any]]:
    """Everything that was ever meant to be assigned in this life, under the names that we compute."""
    return [
        {**item, "provenance": plan.planned.get("provenance", "")}
        for plan in ctx.plans
        for item in plan.planned.get("assignments", ())
    ]


def _made(ctx: StepContext) -> list[dict[str, Any]]:
    return [dict(item) for item in ctx.intent.outputs.get("assignments", ())] if ctx.intent else []
