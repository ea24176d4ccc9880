"""What every removal asks before it removes, and how it says what it did.

Used by the steps' ``revert``. In a delete somebody asked for the removal; in a prune nobody did, so there the
policy is read and the cause is looked at again whenever the confirmation has grown old. Each item of the
outputs is a mapping that names the rule behind it (``shared/prune_rules.py``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import Done
from shared.ports import Linker
from shared.steps.base import SETTLED_AT, StepContext
from shared.steps.proof_of_absence import cause_alive
from shared.users import Leaving, User

CREDENTIAL_LEASE_SECONDS = 60.0
CONFIRMATION_SECONDS = 30.0
"""A confirmation older than this is asked for again before something is removed."""
OUTPUT_CHARACTERS = 24_000
"""Outputs beyond this are cut: one property of a row holds 32 K characters (Table storage)."""
NEEDED = frozenset(
    {"kind", "thing", "namespace", "name", "uid", "nonces", "id", "workload", "scope", "role", "grant"}
    | {"serverId", "apiVersion", "host", "tokenScope", "database", "objectId", "mark"}
    | {
        "clientId",
        "identityId",
        "issuer",
        "subject",
        "rule",
        "found",
        "restorable",
        "principalId",
        "provenance",
    }
)
MADE_AGAIN = "a create request makes it again"


@dataclasses.dataclass(slots=True)
class Removal:
    """What one revert did. Mutable: it is filled while the step goes through its plans."""

    removed: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    """Things that must be absent from now on, whether found or not; ``verify_gone`` looks again."""
    kept: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    would: list[Mapping[str, Any]] = dataclasses.field(default_factory=list)
    """What a prune that only reports would have done, by ``act``: delete or hold."""

    def remove(self, thing: Mapping[str, Any], rule: str, detail: str = "", **more: Any) -> None:
        """Say that a thing is absent from now on."""
        self.removed.append(_item(thing, rule, detail, more))

    def keep(self, thing: Mapping[str, Any], rule: str, detail: str = "", **more: Any) -> None:
        """Say that a thing stays, and why."""
        self.kept.append(_item(thing, rule, detail, more))

    def say(self, thing: Mapping[str, Any], rule: str, detail: str = "", **more: Any) -> None:
        """Say what would have become of a thing."""
        self.would.append(_item(thing, rule, detail, {"act": "delete", **more}))

    def done(self) -> Done:
        """The step's outputs.

        ``trimmed`` says that items were cut to what later steps need, to fit into a row, and ``dropped`` how
        many did not fit even so: ``verify_gone`` does not look at those again.
        """
        outputs: dict[str, Any] = {name: value for name, value in dataclasses.asdict(self).items() if value}
        if len(json.dumps(outputs)) <= OUTPUT_CHARACTERS:
            return Done(outputs=outputs)
        left, dropped = OUTPUT_CHARACTERS, 0
        for name, items in outputs.items():
            fitting = []
            for one in items:
                short = {key: value for key, value in one.items() if key in NEEDED}
                left -= len(json.dumps(short)) + 2
                if left >= 0:
                    fitting.append(short)
            dropped += len(items) - len(fitting)
            outputs[name] = fitting
        return Done(outputs=outputs | {"trimmed": True} | ({"dropped": dropped} if dropped else {}))


def _item(thing: Mapping[str, Any], rule: str, detail: str, more: Mapping[str, Any]) -> Mapping[str, Any]:
    said = {"detail": detail} if detail else {}
    return {**thing, "rule": rule, **said, **more}


async def require_still_gone(ctx: StepContext) -> None:
    """Before a prune removes anything: the policy can be read, and the cause is gone still.

    Azure is asked once more if the last answer is not fresh.

    Raises:
        NotYetError: ``policy-unreadable``: nobody knows what is protected.
        PermanentError: ``resource-returned``: nothing more is removed.
    """
    cause = ctx.operation.cause
    if cause is None:
        return
    protects(ctx, ctx.connection.spec.namespace)
    confirmation = ctx.done.get("confirm_gone", {})
    if "apiVersion" not in confirmation:
        return
    age_seconds = (ctx.now - datetime.fromisoformat(confirmation["confirmedAt"])).total_seconds()
    if age_seconds < CONFIRMATION_SECONDS:
        return
    if await cause_alive(ctx, cause, api_version=confirmation["apiVersion"]):
        raise PermanentError(
            "resource-returned",
            f"{cause.resource_id} exists again",
            remedy="send the create request again: it makes anew what was removed before this was noticed",
        )


def protects(ctx: StepContext, namespace: str) -> bool:
    """Say whether the policy, as it is now, protects a namespace from a prune.

    Raises:
        NotYetError: ``policy-unreadable``: a prune is held, never let through.
    """
    if not ctx.pruning:
        return False
    try:
        policy = ctx.rules.load_policy()
    except PermanentError as error:
        seconds = ctx.rules.hold_recheck_seconds
        raise NotYetError("policy-unreadable", error.detail, seconds=seconds) from error
    return policy.protects(namespace)


async def live_linkers(ctx: StepContext) -> list[Linker]:
    """Service Connector's connections of the cluster, in the connection's namespace."""
    if not ctx.connection.spec.cluster_id:
        return []
    found = await ctx.outside.linkers.list(ctx.connection.spec.cluster_id)
    return [linker for linker in found if linker.namespace == ctx.connection.spec.namespace]


async def leave(ctx: StepContext, thing: str, *, among_others: bool = False) -> Leaving:
    """Stop being a user of a thing, once no write of ours to it can land if others go on using it.

    A users row may have been lost and made anew by whoever joined first. So the last one in it deletes only
    what no other connection on record holds; else the row is theirs from now on.

    Args:
        ctx: the run's context.
        thing: name of the users row.
        among_others: nothing was looked at that only the last user has to know.

    Raises:
        NotYetError: ``settle``.
        TransientError: ``state-conflict``: the others have gone meanwhile.
    """

    async def heirs() -> Mapping[User, bool]:
        return await _holders(ctx, thing)

    operation_id = ctx.operation.operation_id
    leaving = await ctx.users.leave(
        thing,
        ctx.user,
        operation_id=operation_id,
        landing=functools.partial(_landing, ctx),
        present=ctx.recorder.generation,
        among_others=among_others,
    )
    if leaving.last and await ctx.users.hand_over(
        thing, operation_id=operation_id, heirs=heirs, landing=functools.partial(_all_landing, ctx)
    ):
        return Leaving(last=False, shared=True, details=leaving.details)
    return leaving


async def hand_to(ctx: StepContext, thing: str, user: User) -> None:
    """Make another the user of a thing that we are the last to leave, in one write.

    A row that was dropped and made anew would not know any more who has left the thing. Those are on record
    as holding it until their operations end: its new user would leave it to them, and they never come back.

    Raises:
        NotYetError: ``settle``.
    """
    shared = await ctx.users.get(thing)
    if shared is None or shared.closing != ctx.operation.operation_id:
        return

    async def heirs() -> Mapping[User, bool]:
        return {user: True}

    landing = functools.partial(_all_landing, ctx)
    if not await ctx.users.hand_over(thing, operation_id=shared.closing, heirs=heirs, landing=landing):
        await forget(ctx, thing)


async def _landing(ctx: StepContext) -> float:
    """Seconds in which a write of ours may still land."""
    settled_at = ctx.done.get("quiesce", {}).get(SETTLED_AT)
    left_seconds = (datetime.fromisoformat(settled_at) - ctx.now).total_seconds() if settled_at else 0.0
    return max(left_seconds, await ctx.recorder.in_doubt_seconds(removals=False))


async def _all_landing(ctx: StepContext) -> float:
    """The same, and a delete as well."""
    return max(await _landing(ctx), await ctx.recorder.in_doubt_seconds(removals=True))


async def held_by_others(ctx: StepContext, thing: str) -> bool:
    """Say whether another connection on record holds a thing: users rows can be lost, table and all."""
    return bool(await _holders(ctx, thing))


async def _holders(ctx: StepContext, thing: str) -> Mapping[User, bool]:
    """Who else holds a thing, as the intents of those say that rely on the same identities."""
    made = ctx.intents.get("managed_identity")
    identities = {str(plan.planned["resourceId"]) for plan in made.plans()} if made else set()
    held = [await ctx.recorder.held_by_others(identity_id) for identity_id in sorted(identities)]
    return {user: sure for one in held for user, sure in one.get(thing, {}).items()}


async def take_up(ctx: StepContext, thing: str) -> bool:
    """Become the last user again of a thing that is there without a users row; then remove and ``forget``.

    An earlier run of this step left it to a linker and did not live to say so; the linker is gone by now.

    Returns:
        False if it is another's.
    """
    if await held_by_others(ctx, thing):
        return False
    return await ctx.users.seize(thing, ctx.user, operation_id=ctx.operation.operation_id)


async def forget(ctx: StepContext, thing: str, *, by_creates: bool = False) -> None:
    """Give the name of a removed thing free, once no delete of it can land any more.

    Azure's deletes go by name: one whose answer was lost would take what a newcomer has made by then.
    (Kubernetes' deletes name the uid, and do not.)

    Args:
        ctx: the run's context.
        thing: name of the users row.
        by_creates: creates of this life may have sent such deletes too.

    Raises:
        NotYetError: ``settle``.
    """
    left_seconds = await ctx.recorder.in_doubt_seconds(removals=True)
    if by_creates:
        left_seconds = max(left_seconds, await ctx.recorder.in_doubt_seconds(removals=False))
    if left_seconds > 0:
        raise NotYetError("settle", "a delete whose answer was lost may still land", seconds=left_seconds)
    await ctx.users.forget(thing, operation_id=ctx.operation.operation_id)


def same_secret(linkers: list[Linker], connection_name: str) -> bool:
    """Say whether a live linker writes the connection's secret."""
    return any(naming.fold_name(one.name) == naming.fold_name(connection_name) for one in linkers)


@contextlib.asynccontextmanager
async def credential_lease(ctx: StepContext, identity_id: str) -> AsyncIterator[None]:
    """The right to write one identity's credentials.

    Raises:
        NotYetError: ``lease-busy``: another operation is writing one.
    """
    lease = f"credentials|{naming.fold_id(identity_id)}"
    holder = ctx.operation.operation_id
    if not await ctx.limits.acquire(lease, holder=holder, seconds=CREDENTIAL_LEASE_SECONDS):
        raise NotYetError("lease-busy", "another credential of this identity is being written")
    try:
        yield
    finally:
        await ctx.limits.release(lease, holder=holder)
