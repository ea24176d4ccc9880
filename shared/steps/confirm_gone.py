"""The cause of a prune is a fact: looked at twice, with a witness, and nowhere else under another id.

An event is a hint, never an order, and so is a sweep's list. Only a definite not-found counts, asked for
twice with a pause, and only if this identity can demonstrably still read such things. Targets that Azure can
give back (soft delete) wait a grace period.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.errors import NotYetError, PermanentError
from shared.models import Cause, ConnectionState, Done, Finding
from shared.steps.base import StepContext
from shared.steps.orphan_claims import FAULTS, claim, let_go, orphan_fault
from shared.steps.proof_of_absence import (
    Incarnation,
    cause_alive,
    incarnation,
    newer_than_event,
    present_instead,
)
from shared.steps.standing_access import held_elsewhere
from shared.steps.successors import find_successor
from shared.steps.witnesses import API_VERSIONS, find_witness

LOOK_AGAIN_SECONDS = 3600.0
FIRST_GONE_AT = "firstGoneAt"
CAPPED_AT = "cappedAt"
REPORTED_UNDER_A_LINKER = frozenset({"target", "identity", "credential"})
"""Causes that Service Connector's own connection outlives: its linker decides, not they."""


class ConfirmGone:
    """The cause of a prune is a fact."""

    name = "confirm_gone"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Nothing to look at."""
        return []

    async def apply(self, ctx: StepContext) -> Done:
        """Ask Azure; end the operation if the resource is alive, has moved, or is not ours to judge.

        Raises:
            NotYetError: ``confirm``, ``grace``, ``no-canary`` or ``cap``.
            TransientError: whatever kept Azure from a definite answer: nothing is pruned on doubt.
        """
        cause = ctx.operation.cause
        if cause is None:
            raise PermanentError("missing-cause", "a prune names what is gone")
        # An orphan's credential went by our own hand: Azure's event of that says nothing new.
        if ctx.connection.state is ConnectionState.ORPHANED and cause.kind in {"cluster", "credential"}:
            return Done(ends_operation="already-orphaned")
        if cause.kind == "orphan":
            return await _named(ctx, cause)
        _wait_for_release(ctx)
        if cause.kind == "expiry":
            return await self._expired(ctx, cause)
        return await self._gone(ctx, cause)

    async def revert(self, ctx: StepContext) -> Done:
        """Nothing was made."""
        return Done()

    async def _expired(self, ctx: StepContext, cause: Cause) -> Done:
        """What was kept for a rebuild has been kept long enough: no look at Azure can tell more."""
        if await cause_alive(ctx, cause, api_version=""):
            return Done(outputs={"fact": "alive"}, ends_operation="resource-alive")
        await _take_cap(ctx, {})
        return Done(
            outputs={
                "fact": "expired",
                "resourceId": cause.resource_id,
                "endedAt": ctx.connection.ended_at.isoformat() if ctx.connection.ended_at else "",
                "retentionSeconds": ctx.rules.orphan_retention_seconds,
                "confirmedAt": ctx.now.isoformat(),
            },
        )

    async def _gone(self, ctx: StepContext, cause: Cause) -> Done:
        api_version = ctx.target.api_version if cause.kind == "target" else API_VERSIONS[cause.kind]
        if cause.kind == "namespace":
            ended = await _of_another_cluster(ctx)
            if ended is not None:
                return ended
        if await cause_alive(ctx, cause, api_version=api_version):
            return _alive(ctx, cause)
        first_gone_at = datetime.fromisoformat(ctx.noted.get(FIRST_GONE_AT, ctx.now.isoformat()))
        note = {FIRST_GONE_AT: first_gone_at.isoformat()}
        self._require_age(ctx, "confirm", first_gone_at, ctx.rules.prune_confirm_seconds)
        witness = await find_witness(ctx, cause, api_version, note)
        fact: dict[str, Any] = {
            "fact": "gone",
            "resourceId": cause.resource_id,
            "apiVersion": api_version,
            "firstGoneAt": first_gone_at.isoformat(),
            "confirmedAt": ctx.now.isoformat(),
            "witness": witness,
        }
        elsewhere = await held_elsewhere(ctx, cause)
        if elsewhere:
            return Done(
                outputs={"fact": "alive", "heldOn": elsewhere},
                ends_operation="resource-alive",
                detail=f"{cause.resource_id} is gone, but what the connection has is access to {elsewhere}",
                remedy="send the update again with a target that is there, or delete the connection",
            )
        if await _linker_lives(ctx, cause):
            outputs = {**fact, "reported": True, "linkerId": ctx.connection.linker_id}
            return Done(
                outputs=outputs,
                ends_operation="linker-alive",
                detail=f"{cause.resource_id} is gone, but {ctx.connection.linker_id} lives",
                remedy=f"az aks connection delete --id {ctx.connection.linker_id}",
            )
        theirs = bool(ctx.connection.linker_id) and cause.kind in REPORTED_UNDER_A_LINKER
        # Their linker is gone too: then nothing depends on where the target is, or whether it returns.
        successor = "" if theirs else await find_successor(ctx, cause, witness, note)
        if successor:
            return Done(
                outputs={**fact, "fact": "moved", "successor": successor},
                ends_operation="resource-moved",
                detail=f"{cause.resource_id} lives on as {successor}: nothing is removed",
                remedy="delete the connection and create it again with the new id",
            )
        recoverable = cause.kind == "target" and not theirs and ctx.target.soft_delete
        if recoverable and not ctx.operation.report_only:
            grace_seconds = ctx.rules.prune_confirm_seconds + ctx.rules.prune_grace_seconds
            self._require_age(ctx, "grace", first_gone_at, grace_seconds)
        await _take_cap(ctx, note)
        if newer_than_event(cause, ctx.connection.configured_at or ctx.connection.created_at):
            # What was made after the event may not be what the event was about: once more, at the end.
            if await cause_alive(ctx, cause, api_version=api_version):
                return _alive(ctx, cause)
            fact |= {"newerThanEvent": True}
        return Done(outputs=fact)

    def _require_age(self, ctx: StepContext, reason: str, since: datetime, seconds: float) -> None:
        until = since + timedelta(seconds=seconds)
        left_seconds = (until - ctx.now).total_seconds()
        if left_seconds > 0:
            # A long wait looks in between whether the resource has come back.
            seconds = min(left_seconds, LOOK_AGAIN_SECONDS)
            note = {FIRST_GONE_AT: since.isoformat()}
            raise NotYetError(
                reason, f"until {until.isoformat(timespec='seconds')}", seconds=seconds, note=note
            )


def _alive(ctx: StepContext, cause: Cause) -> Done:
    """How a prune ends that found what the connection relies on; said where that is not what was asked of."""
    instead = present_instead(ctx, cause)
    detail = f"the connection does not rely on {cause.resource_id}, but on {instead}, which is there"
    return Done(
        outputs={"fact": "alive", **({"heldOn": instead} if instead else {})},
        ends_operation="resource-alive",
        detail=detail if instead else "",
    )


async def _of_another_cluster(ctx: StepContext) -> Done | None:
    """How a namespace's prune ends where the cluster is not the recorded one; ``None`` where it is.

    A namespace that another cluster does not have was never there; the old cluster's own prune sees to its
    leftovers.

    Raises:
        NotYetError: ``no-canary``: nothing tells which cluster this is.
    """
    now = await incarnation(ctx)
    if now in {Incarnation.ANOTHER, Incarnation.GONE}:
        return Done(outputs={"fact": "alive", "cluster": now.value}, ends_operation="cluster-replaced")
    if now is Incarnation.UNKNOWN:
        detail = "nothing on record, or nothing in Azure, tells which cluster this is"
        raise NotYetError("no-canary", detail, seconds=ctx.rules.hold_recheck_seconds)
    return None


async def _linker_lives(ctx: StepContext, cause: Cause) -> bool:
    if not ctx.connection.linker_id or cause.kind not in REPORTED_UNDER_A_LINKER:
        return False
    return await ctx.outside.linkers.get(ctx.connection.linker_id) is not None


async def _named(ctx: StepContext, cause: Cause) -> Done:
    """A person named it: a call a thing, so no cap counts; its own proof is the uid that was reported.

    What a sweep named is counted like any other prune.

    Raises:
        NotYetError: ``cap``; ``closing``: another operation is removing it.
    """
    if cause.source == "sweep":
        _wait_for_release(ctx)
    await claim(ctx)
    fault = await orphan_fault(ctx)
    if fault or ctx.operation.report_only:
        await let_go(ctx)
    if fault:
        return Done(outputs={"fact": "alive", "fault": fault}, ends_operation=fault, detail=FAULTS[fault])
    if cause.source == "sweep":
        await _take_cap(ctx, {})
    outputs = {"fact": "orphan", "resourceId": cause.resource_id, "confirmedAt": ctx.now.isoformat()}
    return Done(outputs=outputs)


def _wait_for_release(ctx: StepContext) -> None:
    """What met the cap stays held until a person releases it; whether it is alive is asked each hour.

    Raises:
        NotYetError: ``cap``.
    """
    capped_at = ctx.noted.get(CAPPED_AT)
    if not capped_at or ctx.operation.released:
        return
    asked_seconds = (ctx.now - datetime.fromisoformat(capped_at)).total_seconds()
    if asked_seconds < LOOK_AGAIN_SECONDS:
        raise _capped(ctx, {})


async def _take_cap(ctx: StepContext, note: Mapping[str, str]) -> None:
    """Count this prune in its cluster and hour, before the first removal.

    Raises:
        NotYetError: ``cap``.
    """
    if ctx.operation.report_only or ctx.operation.released:
        return
    here, operation_id = ctx.connection.spec.cluster_id, ctx.operation.operation_id
    limit = ctx.rules.prune_cap_per_hour
    held = CAPPED_AT in ctx.noted
    if held or not await ctx.limits.take_cap(here, operation_id, limit=limit, now=ctx.now):
        raise _capped(ctx, {**note, CAPPED_AT: ctx.now.isoformat()})


def _capped(ctx: StepContext, note: Mapping[str, str]) -> NotYetError:
    return NotYetError(
        "cap",
        f"more than {ctx.rules.prune_cap_per_hour} prunes of this cluster in an hour: held until released",
        seconds=ctx.rules.hold_recheck_seconds,
        note=note,
    )
