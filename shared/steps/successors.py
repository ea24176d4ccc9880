"""Where something lives on that is missing under its id: Azure gives a moved resource another id.

A move between groups or subscriptions leaves a not-found behind and no deletion (Azure Resource Manager,
"Move resources"). Types and names stay, so Resource Manager's list of a subscription finds a candidate; a
fact that was recorded while the connection was made tells whether it is the same thing. What cannot be told
holds the prune.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import Cause
from shared.steps.base import StepContext
from shared.steps.proof_of_absence import recorded_issuer

MOVABLE = frozenset({"target", "identity", "cluster"})
"""Kinds of causes that may have moved; the others go with what they belong to."""
TOP_LEVEL_PARTS = 9
"""Parts of a top-level resource's id, split at its slashes (the first is empty)."""


async def find_successor(ctx: StepContext, cause: Cause, witness: str, note: Mapping[str, str]) -> str:
    """The id under which the missing thing lives on; empty if nowhere in the subscriptions that we watch.

    Raises:
        NotYetError: ``no-canary``: a list was refused or does not show what is there, or a candidate cannot
            be read or told from the missing thing.
    """
    if cause.kind not in MOVABLE:
        return ""
    parts = naming.fold_id(cause.resource_id).split("/")
    missing, below = "/".join(parts[:TOP_LEVEL_PARTS]), "/".join(parts[TOP_LEVEL_PARTS:])
    try:
        await _require_speaking_lists(ctx, witness)
        found = await _candidates(ctx, missing)
        for candidate in found:
            successor = f"{candidate}/{below}" if below else candidate
            if await _is_same(ctx, cause, successor, candidate):
                return successor
    except PermanentError as error:
        raise _doubt(ctx, f"it may have moved: {error}", note) from error
    return ""


async def _candidates(ctx: StepContext, missing: str) -> list[str]:
    kind, name = naming.type_of(missing), missing.rsplit("/", 1)[-1]
    found: list[str] = []
    for subscription_id in sorted(ctx.rules.subscription_ids):
        found += await ctx.outside.resources.list(subscription_id, resource_type=kind, name=name)
    return [one for one in found if naming.fold_id(one) != missing]


async def _require_speaking_lists(ctx: StepContext, witness: str) -> None:
    """A list that does not show what answers right now would not show a successor either.

    Raises:
        PermanentError: ``list-silent``.
    """
    if witness.count("/") != TOP_LEVEL_PARTS - 1:
        return
    listed = await ctx.outside.resources.list(
        naming.subscription_of(witness),
        resource_type=naming.type_of(witness),
        name=naming.fold_id(witness).rsplit("/", 1)[-1],
    )
    if naming.fold_id(witness) not in {naming.fold_id(one) for one in listed}:
        raise PermanentError("list-silent", f"the list of resources does not show {witness}")


async def _is_same(ctx: StepContext, cause: Cause, successor: str, candidate: str) -> bool:
    """Say whether a candidate is the missing thing.

    Raises:
        PermanentError: it cannot be read, or nothing on record tells it from another.
    """
    if cause.kind == "target":
        return await _is_same_target(ctx, successor, candidate)
    if cause.kind == "identity":
        identity = await ctx.outside.identities.get(successor)
        made = ctx.intents.get("managed_identity")
        recorded = str(made.outputs.get("clientId") or "") if made else ""
        return identity is not None and _same(recorded, identity.client_id, successor)
    cluster = await ctx.outside.clusters.describe(successor)
    return cluster is not None and _same(recorded_issuer(ctx), cluster.issuer, successor)


async def _is_same_target(ctx: StepContext, successor: str, candidate: str) -> bool:
    """By what settings are made of: with an endpoint goes a name that Azure gives only once.

    Without recorded facts the name alone says that it is the same.

    Raises:
        PermanentError: ``successor-unknown``: none of its facts was recorded.
    """
    api_version = ctx.target.api_version
    rest = ctx.connection.spec.target_id.strip("/").split("/")[TOP_LEVEL_PARTS - 1 :]
    target_id = "/".join([candidate, *rest])
    whole_id = ctx.target.existence_id(target_id)
    body = await ctx.outside.resources.get(whole_id, api_version=api_version)
    if body is None:
        return False
    is_part = naming.fold_id(successor).startswith(f"{naming.fold_id(whole_id)}/")
    if is_part and await ctx.outside.resources.get(successor, api_version=api_version) is None:
        return False
    preflight = ctx.intents.get("preflight")
    recorded = preflight.outputs.get("facts") if preflight else None
    if not recorded:
        return True
    # What is above a target is the candidate itself, and moves with it.
    above = bool(ctx.target.parent_template)
    parent = await ctx.outside.resources.get(candidate, api_version=api_version) if above else None
    present = ctx.target.facts(target_id, body, client_id="", parent=parent)
    known = [
        name
        for name, fact in ctx.target.wanted.items()
        if not fact.optional and name in present and name in recorded
    ]
    if not known:
        raise _unknown(successor)
    return all(present[name] == recorded[name] for name in known)


def _unknown(successor: str) -> PermanentError:
    return PermanentError("successor-unknown", f"nothing on record tells {successor} from what is missing")


def _same(recorded: str, present: str, successor: str) -> bool:
    """Compare two facts.

    Raises:
        PermanentError: ``successor-unknown`` without a recorded one.
    """
    if not recorded:
        raise _unknown(successor)
    return recorded.lower() == present.lower()


def _doubt(ctx: StepContext, detail: str, note: Mapping[str, str]) -> NotYetError:
    return NotYetError("no-canary", detail, seconds=ctx.rules.hold_recheck_seconds, note=note)
