"""A workload has a user-assigned managed identity, its own or one named by the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.models import Done, Finding, Plan, Provenance
from shared.ports import Identity, Linker
from shared.spec import ConnectionSpec
from shared.steps.base import TAG_NONCE, TAG_WORKLOAD, StepContext, found, identity_thing
from shared.steps.granting import kind_of, port_of
from shared.steps.left_to_linkers import leave_to
from shared.steps.linked import linkers_through
from shared.steps.out_of_reach import require_no_principal
from shared.steps.registration import IDENTITIES, not_registered
from shared.steps.removal import MADE_AGAIN, Removal, forget, leave, require_still_gone

LINKED = "a live linker works through it"
_NOT_BACK = {"restorable": "no", "why": f"{MADE_AGAIN}, with another client id"}


class ManagedIdentity:
    """The identity exists, or is gone with its last user."""

    name = "managed_identity"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Say whether the identity exists with the client id that we recorded."""
        if ctx.for_pruning_only:
            return []
        recorded = str(ctx.intent.outputs.get("clientId", "")) if ctx.intent else ""
        if not recorded:
            return [found(self.name, ok=False, detail="none recorded")]
        identity = await ctx.outside.identities.get(ctx.output(self.name, "resourceId"))
        ok = identity is not None and identity.client_id == recorded
        detail = "" if identity is None or ok else f"client id is {identity.client_id}, recorded {recorded}"
        return [found("identity-exists", ok=ok, detail=detail or recorded)]

    async def apply(self, ctx: StepContext) -> Done:
        """Make sure of the identity.

        Raises:
            PermanentError: identity-not-found, identity-forbidden, object-not-ours; too-many-users, before
                anything of the connection is made.
            NotYetError: ``closing``.
        """
        if ctx.connection.spec.identity_id:
            return await self._provided(ctx)
        resource_id = identity_id(ctx)
        identity = await ctx.outside.identities.get(resource_id)
        marked = identity is not None and identity.tags.get(TAG_WORKLOAD) == ctx.workload_key
        if identity is not None and not marked and not _recorded(ctx, identity):
            raise foreign_identity(resource_id)
        planned = await ctx.recorder.intend(
            {"resourceId": resource_id, "provenance": Provenance.CREATED, "nonce": ctx.nonce},
        )
        await ctx.recorder.depend("identity", resource_id)
        await ctx.users.join(
            identity_thing(resource_id),
            ctx.user,
            settled=ctx.recorder.settled,
            # Whoever leaves last, perhaps a connection that was given this identity, deletes by this mark.
            details={"workload": ctx.workload_key},
        )
        if identity is not None:
            # Its last user may have removed it between our look and our joining.
            identity = await ctx.outside.identities.get(resource_id)
        if identity is None or not marked:
            tags = {TAG_WORKLOAD: ctx.workload_key, TAG_NONCE: str(planned["nonce"])}
            location = ctx.output("preflight", "location")
            identity = await _ensured(ctx, resource_id, location=location, tags=tags)
        return _done(identity)

    async def revert(self, ctx: StepContext) -> Done:
        """Delete the identity with its last user, if one of us made it and it bears our tag.

        Raises:
            PermanentError: ``subscription-not-found``: it stays, and so may a role that was out of reach.
        """
        removal = Removal()
        await require_still_gone(ctx)
        for plan in ctx.plans:
            await self._remove(ctx, removal, plan)
        await require_no_principal(ctx, removal)
        return removal.done()

    async def _remove(self, ctx: StepContext, removal: Removal, plan: Plan) -> None:
        resource_id = str(plan.planned["resourceId"])
        item = {"kind": "identity", "id": resource_id, "name": resource_id.rpartition("/")[-1]}
        thing = identity_thing(resource_id)
        if ctx.operation.report_only:
            shared = await ctx.users.get(thing)
            if shared is not None and set(shared.users) - {ctx.user}:
                removal.keep(item, "still-shared", "still used")
            else:
                removal.say(item, "last-user", "if it bears the workload's tag", **_NOT_BACK)
            return
        leaving = await leave(ctx, thing)
        # Without a row an earlier run of this step has left it: the plan says whose it was.
        planned = str(plan.planned.get("workload", ctx.workload_key)) if not leaving.last else ""
        workload = leaving.details.get("workload", planned)
        if leaving.shared:
            left = _left_to_linkers(ctx)
            rule, why = ("live-linker", LINKED) if left else ("still-shared", "still used")
            removal.keep(item, rule, why)
            return
        linkers: list[Linker] = []
        identity = await ctx.outside.identities.get(resource_id)
        if not workload or (identity is not None and identity.tags.get(TAG_WORKLOAD) != workload):
            removal.keep(item, "not-made-by-us", "it does not bear the workload's tag")
        elif identity is not None and (
            (linkers := await linkers_through(ctx, resource_id, identity.client_id))
            or await _stands_for_a_linker(ctx)
        ):
            removal.keep(item, "live-linker", LINKED)
        elif identity is not None and (fault := await self._fault(ctx, plan, identity)):
            removal.keep(item, *fault)
        else:
            if identity is not None and leaving.last:
                await ctx.outside.identities.delete(resource_id)
            gone = {"found": identity is not None, "workload": workload}
            rule = "last-user" if identity is not None else "already-gone"
            removal.remove({**item, "thing": thing, **gone}, rule, **_NOT_BACK)
        if linkers and plan.planned.get("provenance") in {Provenance.CREATED, Provenance.PROVIDED}:
            details = {"workload": workload}
            await leave_to(ctx, linkers[0], thing, plan, step=self.name, identity=plan, details=details)
        if leaving.last:
            await forget(ctx, thing)

    async def _fault(self, ctx: StepContext, plan: Plan, identity: Identity) -> tuple[str, str] | None:
        """Why a prune keeps an identity: it is not the reported one, or somebody else works through it.

        Our own credential is gone by now. An identity takes all that are left with it, AKS's own included.
        """
        cause = ctx.operation.cause
        if cause is None:
            return None
        if cause.kind == "orphan" and identity.principal_id != plan.outputs.get("principalId"):
            return "object-changed", "it was made anew since it was reported"
        trusted = [
            one.name
            for one in await ctx.outside.identities.list_credentials(identity.resource_id)
            # A list may be older than the last delete.
            if await ctx.outside.identities.get_credential(identity.resource_id, one.name) is not None
        ]
        if any(map(naming.protected_credential, trusted)):
            return "protected-object", "AKS's own credential trusts in it"
        return ("in-use", f"{len(trusted)} federated credentials trust in it") if trusted else None

    async def _provided(self, ctx: StepContext) -> Done:
        resource_id = ctx.connection.spec.identity_id
        identity = await ctx.outside.identities.get(resource_id)
        require_provided(identity, resource_id, app_client_id=ctx.rules.app_client_id)
        await ctx.recorder.intend({"resourceId": resource_id, "provenance": Provenance.PROVIDED})
        await ctx.recorder.depend("identity", resource_id)
        await ctx.users.join(identity_thing(resource_id), ctx.user, settled=ctx.recorder.settled)
        # One that another workload had made may have gone with its last user just before we joined.
        identity = await ctx.outside.identities.get(resource_id)
        if identity is None:
            raise PermanentError("identity-not-found", resource_id)
        return _done(identity)


async def _ensured(ctx: StepContext, resource_id: str, *, location: str, tags: Mapping[str, str]) -> Identity:
    try:
        return await ctx.outside.identities.ensure(resource_id, location=location, tags=tags)
    except PermanentError as error:
        if error.code != "provider-not-registered":
            raise
        raise not_registered(naming.subscription_of(resource_id), IDENTITIES) from error


def own_identity_id(spec: ConnectionSpec, identity_resource_group_id: str) -> str:
    """Id of the identity that is made for a connection's workload."""
    name = naming.identity_name(spec.cluster_id, spec.namespace, spec.workload)
    group = identity_resource_group_id.rstrip("/")
    return f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"


def require_provided(identity: Identity | None, resource_id: str, *, app_client_id: str) -> None:
    """The identity that a request names is there, and not the app's own.

    Raises:
        PermanentError: ``identity-not-found`` or ``identity-forbidden``.
    """
    if identity is None:
        raise PermanentError("identity-not-found", resource_id)
    if identity.client_id.lower() == app_client_id.lower():
        raise PermanentError("identity-forbidden", "this is Mooring's own identity")


def foreign_identity(resource_id: str) -> PermanentError:
    """The error of an identity of a workload's name that is not this workload's."""
    return PermanentError(
        "object-not-ours",
        f"identity {resource_id} exists without this workload's tag",
        remedy="delete that identity, or name it as identityId",
    )


def identity_id(ctx: StepContext) -> str:
    """Id of the identity that the request names, or of the one that is made for its workload."""
    spec = ctx.connection.spec
    return spec.identity_id or own_identity_id(spec, ctx.rules.identity_resource_group_id)


def _left_to_linkers(ctx: StepContext) -> list[Mapping[str, Any]]:
    """What of the identity this removal left to linkers, whatever became of it since."""
    steps = ("role_assignments", "federated_credential")
    kept = [one for step in steps for one in ctx.done.get(step, {}).get("kept", ())]
    return [one for one in kept if one["rule"] == "live-linker"]


async def _stands_for_a_linker(ctx: StepContext) -> bool:
    """Say whether something that this removal left to a linker is there, whatever became of that linker.

    A role whose principal is gone would stay with no record of it. What the linker's prune has removed since
    keeps no identity: that prune has left it to its last user, to us.
    """
    for item in _left_to_linkers(ctx):
        if item["kind"] == "role":
            if await port_of(ctx.outside, kind_of(item)).get(item["scope"], item["name"]) is not None:
                return True
            continue
        trust = (item["issuer"], item["subject"])
        for one in await ctx.outside.identities.list_credentials(item["identityId"]):
            # A list may be older than the last delete.
            there = await ctx.outside.identities.get_credential(item["identityId"], one.name)
            if there is not None and (there.issuer, there.subject) == trust:
                return True
    return False


def _recorded(ctx: StepContext, identity: Identity) -> bool:
    """Say whether a repair meets the very identity that we made, whatever became of its tags."""
    outputs = ctx.intent.outputs if ctx.intent else {}
    ids = (str(outputs.get("clientId", "")).lower(), str(outputs.get("principalId", "")).lower())
    return ctx.repairing and ids == (identity.client_id.lower(), identity.principal_id.lower())


def _done(identity: Identity) -> Done:
    return Done(
        outputs={
            "resourceId": identity.resource_id,
            "clientId": identity.client_id,
            "principalId": identity.principal_id,
        },
    )
