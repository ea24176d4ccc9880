"""What this operation removed is still gone; a write that landed late is removed again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Done, Finding, Provenance
from shared.ports import KubeObject
from shared.steps import database_access, provided_account
from shared.steps.base import ANNOTATION_KEEP, ANNOTATION_NONCE, SETTLED_AT, TAG_WORKLOAD, StepContext
from shared.steps.granting import kind_of, port_of
from shared.steps.left_to_linkers import leave_late_to
from shared.steps.linked import linker_of
from shared.steps.objects import marked, used
from shared.steps.removal import credential_lease, forget, held_by_others


class VerifyGone:
    """Everything that was removed is absent."""

    name = "verify_gone"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Nothing to look at."""
        return []

    async def apply(self, ctx: StepContext) -> Done:
        """Look once more, after one lease if another operation was overtaken or has lost an answer.

        A thing that somebody uses again (it has a users row) is theirs and stays. A cluster object that
        somebody made anew after a prune is reported as ``returned``, never fought.

        Raises:
            NotYetError: ``settle``: a late write may still land.
            TransientError: ``came-back``: something had landed late and was removed again.
        """
        settled_at = ctx.done.get("quiesce", {}).get(SETTLED_AT)
        if settled_at:
            left_seconds = (datetime.fromisoformat(settled_at) - ctx.now).total_seconds()
            if left_seconds > 0:
                raise NotYetError("settle", "an overtaken write may still land", seconds=left_seconds)
        in_doubt_seconds = await ctx.recorder.in_doubt_seconds(removals=False)
        if in_doubt_seconds > 0:
            raise NotYetError(
                "settle", "a write whose answer was lost may still land", seconds=in_doubt_seconds
            )
        removed = [
            item
            for outputs in ctx.done.values()
            for item in outputs.get("removed", ())
            # No write of ours made these: what comes back under their name was made anew by its owner.
            if item.get("provenance") != Provenance.ADOPTED
        ]
        back = [item["kind"] for item in removed if await self._removed_again(ctx, item)]
        if back:
            raise TransientError("came-back", ", ".join(back))
        returned = [one for item in removed if (one := await _returned(ctx, item)) is not None]
        outputs = {"verified": [item["kind"] for item in removed], "returned": returned}
        return Done(outputs={name: value for name, value in outputs.items() if value})

    async def revert(self, ctx: StepContext) -> Done:
        """Nothing was made."""
        return Done()

    async def _removed_again(self, ctx: StepContext, item: Mapping[str, Any]) -> bool:
        again = _AGAIN.get(item["kind"], _object)
        thing, operation_id = item["thing"], ctx.operation.operation_id
        if not thing:
            back = await again(ctx, item, remove=False) and await linker_of(ctx, item) is None
            return back and await again(ctx, item, remove=True)
        known = await ctx.users.get(thing)
        if known is not None and ctx.user in known.users and not known.closing:
            # No newcomer: a joining of this life whose answer was lost landed after this operation had left.
            left = await ctx.users.leave(thing, ctx.user, operation_id=operation_id)
            known = await ctx.users.get(thing) if left.last else known
        if known is not None and known.closing != operation_id:
            return False
        back = known is not None or await again(ctx, item, remove=False)
        if back and known is None and await held_by_others(ctx, thing):
            return False
        if back and (linker := await linker_of(ctx, item)) is not None:
            # A linker that was made meanwhile works through what came back.
            await leave_late_to(ctx, linker, item)
            await forget(ctx, thing)
            return False
        # Between that look and a removal somebody may join and make the thing anew: not before we are done.
        details = {name: item[name] for name in ("workload",) if name in item}
        if not back or not await ctx.users.seize(thing, ctx.user, operation_id=operation_id, details=details):
            return False
        removed = await again(ctx, item, remove=True)
        await forget(ctx, thing)
        return removed


async def _identity(ctx: StepContext, item: Mapping[str, Any], *, remove: bool) -> bool:
    identity = await ctx.outside.identities.get(item["id"])
    if identity is None or identity.tags.get(TAG_WORKLOAD) != item["workload"]:
        return False
    if remove:
        await ctx.outside.identities.delete(item["id"])
    return True


async def _role(ctx: StepContext, item: Mapping[str, Any], *, remove: bool) -> bool:
    port = port_of(ctx.outside, kind_of(item))
    if await port.get(item["scope"], item["name"]) is None:
        return False
    if remove:
        await port.delete(item["scope"], item["name"])
    return True


async def _credential(ctx: StepContext, item: Mapping[str, Any], *, remove: bool) -> bool:
    there = await ctx.outside.identities.get_credential(item["identityId"], item["name"])
    if there is None or (there.issuer, there.subject) != (item["issuer"], item["subject"]):
        return False
    if remove:
        async with credential_lease(ctx, item["identityId"]):
            await ctx.outside.identities.delete_credential(item["identityId"], item["name"])
    return True


async def _object(ctx: StepContext, item: Mapping[str, Any], *, remove: bool) -> bool:
    # A late write of ours carries a nonce that we had saved; anything else is not ours.
    # That goes for another cluster, too, that has the place of one that is gone: a client that gets no answer
    # asks Azure for the address again, and may have written there.
    there = await _found(ctx, item) if item["nonces"] else None
    if there is None or there.annotations.get(ANNOTATION_NONCE) not in item["nonces"]:
        return False
    wanted = ANNOTATION_KEEP in there.annotations or not marked(there)
    if ctx.pruning and (wanted or await used(ctx, item["kind"], there)):
        # Put back by somebody, and wanted: a prune leaves it.
        return False
    if not remove:
        return True
    return await ctx.outside.clusters.delete(
        ctx.connection.spec.cluster_id,
        item["kind"],
        item["namespace"],
        item["name"],
        uid=there.uid,
        resource_version=there.resource_version,
    )


async def _returned(ctx: StepContext, item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A cluster object that stands again after a prune: a tool or a person wants it there."""
    if not ctx.pruning or "nonces" not in item or item.get("rule") == "cluster-gone":
        return None  # what went with its cluster does not return in another
    there = await _found(ctx, item)
    if there is None:
        return None
    return {
        **{name: item[name] for name in ("kind", "namespace", "name")},
        "uid": there.uid,
        "rule": "object-returned",
        "createdAt": there.created_at,
        "restorable": "no",
        "why": "it is there",
    }


_AGAIN = MappingProxyType(
    {
        "identity": _identity,
        "role": _role,
        "credential": _credential,
        provided_account.ITEM: provided_account.removed_again,
        database_access.KIND: database_access.removed_again,
    }
)
"""Who looks again at what is no object of the cluster that we made, by kind."""


async def _found(ctx: StepContext, item: Mapping[str, Any]) -> KubeObject | None:
    try:
        return await ctx.outside.clusters.get(
            ctx.connection.spec.cluster_id, item["kind"], item["namespace"], item["name"]
        )
    except PermanentError as error:
        if error.code != "cluster-gone":
            raise
        return None
