"""Whether what a person named as an orphan still is one: the reported incarnation, and nobody's.

Nobody saw it alive with its owner, so nothing on record proves whose it was: the person's word does, for
exactly the thing that was reported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from shared import naming
from shared.errors import PermanentError
from shared.models import Intent
from shared.ports import Linker
from shared.steps.base import StepContext, account_thing, credential_thing, identity_thing
from shared.steps.making import SECRET, kind_of
from shared.steps.removal import leave

_CODES = (
    ("orphan-changed", "what stands there is not what was reported"),
    ("linker-alive", "a living connection of Service Connector computes it"),
    ("still-used", "a connection on record uses it"),
    ("issuer-alive", "the cluster whose issuer it names is there"),
)
CHANGED, LINKED, USED, ALIVE = (code for code, _ in _CODES)
FAULTS: Mapping[str, str] = dict(_CODES)
"""Why a named orphan is none, by the result's code."""


async def orphan_fault(ctx: StepContext) -> str:
    """Why a named orphan is none; empty if nothing speaks against it. What is gone already is no fault.

    Returns:
        One of ``FAULTS``, or nothing.
    """
    cluster_id = ctx.connection.spec.cluster_id
    linkers = await ctx.outside.linkers.list(cluster_id) if cluster_id else []
    for step, check in _CHECKS.items():
        intent = ctx.intents.get(step)
        for plan in intent.plans() if intent else ():
            fault = await check(ctx, {**plan.planned, **plan.outputs}, linkers)
            if fault:
                return fault
    return ""


async def _settings(ctx: StepContext, known: Mapping[str, Any], linkers: list[Linker]) -> str:
    namespace, name = str(known["namespace"]), str(known["name"])
    linked = any(one.namespace == namespace and naming.secret_name(one.name) == name for one in linkers)
    kind = kind_of(known)
    if linked and kind == SECRET:
        return LINKED
    return USED if await computed(ctx, namespace, name) else await _changed(ctx, kind, known)


async def computed(ctx: StepContext, namespace: str, name: str) -> bool:
    """Say whether a connection on record, made since the orphan was reported perhaps, writes that object."""
    named = naming.settings_name_part(name)
    return await ctx.recorder.holds(naming.connection_id(ctx.connection.spec.cluster_id, namespace, named))


async def _account(ctx: StepContext, known: Mapping[str, Any], linkers: list[Linker]) -> str:
    namespace, name = str(known["namespace"]), str(known["name"])
    linked = any(
        one.namespace == namespace and one.client_id and naming.service_account_name(one.client_id) == name
        for one in linkers
    )
    client_id = name.removeprefix(naming.service_account_name(""))
    shared = await ctx.users.get(account_thing(ctx.connection.spec.cluster_id, namespace, client_id))
    used = shared is not None and any(user != ctx.user for user in shared.users)
    if linked or used:
        return LINKED if linked else USED
    return await _changed(ctx, "ServiceAccount", known)


async def _changed(ctx: StepContext, kind: str, known: Mapping[str, Any]) -> str:
    cluster_id = ctx.connection.spec.cluster_id
    namespace, name = str(known["namespace"]), str(known["name"])
    try:
        there = await ctx.outside.clusters.get(cluster_id, kind, namespace, name)
    except PermanentError as error:
        if error.code != "cluster-gone":
            raise
        return ""
    return CHANGED if there is not None and there.uid != known.get("uid") else ""


async def _identity(ctx: StepContext, known: Mapping[str, Any], linkers: list[Linker]) -> str:
    identity = await ctx.outside.identities.get(str(known["resourceId"]))
    if identity is None:
        return ""
    changed = identity.principal_id != known.get("principalId")
    linked = any(one.client_id.lower() == identity.client_id.lower() for one in linkers)
    if changed:
        return CHANGED
    return LINKED if linked else ""


async def _credential(ctx: StepContext, known: Mapping[str, Any], linkers: list[Linker]) -> str:
    del linkers  # whatever works through a credential works in the cluster of its issuer
    there = await ctx.outside.identities.get_credential(str(known["identityId"]), str(known["name"]))
    reported = (known.get("issuer"), known.get("subject"))
    if there is None:
        return ""
    if (there.issuer, there.subject) != reported:
        return CHANGED
    cluster_id = ctx.connection.spec.cluster_id
    cluster = await ctx.outside.clusters.describe(cluster_id) if cluster_id else None
    # One look that found no cluster made it look dead; a look that finds it proves that it is not, and one
    # that finds it without any issuer proves nothing.
    return ALIVE if cluster is not None and cluster.issuer in {"", there.issuer} else ""


def things(cluster_id: str, intents: Mapping[str, Intent]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name of each thing on an orphan's record that has users, and what is known of it."""
    for step, thing_of in _THINGS.items():
        intent = intents.get(step)
        for plan in intent.plans() if intent else ():
            yield thing_of(cluster_id, plan.planned), plan.planned


async def claim(ctx: StepContext) -> None:
    """Become a user of what was named, so that nobody else removes or makes it meanwhile.

    Here and not when the prune is opened: whatever is cut off, the prune's own way on leads past here.

    Raises:
        NotYetError: ``closing``: another operation is removing it.
    """
    for thing, planned in things(ctx.connection.spec.cluster_id, ctx.intents):
        known = {name: planned[name] for name in _DETAILS if name in planned}
        await ctx.users.join(thing, ctx.user, settled=ctx.recorder.settled, details=known)


async def let_go(ctx: StepContext) -> None:
    """Stop being a user of what is not removed: else nobody would ever be its last user, nor report it."""
    for thing, _ in things(ctx.connection.spec.cluster_id, ctx.intents):
        left = await leave(ctx, thing)
        if left.last:
            await ctx.users.forget(thing, operation_id=ctx.operation.operation_id)


def _account_thing(cluster_id: str, planned: Mapping[str, Any]) -> str:
    client_id = str(planned["name"]).removeprefix(naming.service_account_name(""))
    return account_thing(cluster_id, str(planned["namespace"]), client_id)


def _identity_thing(_: str, planned: Mapping[str, Any]) -> str:
    return identity_thing(str(planned["resourceId"]))


def _credential_thing(_: str, planned: Mapping[str, Any]) -> str:
    return credential_thing(str(planned["identityId"]), str(planned["issuer"]), str(planned["subject"]))


_DETAILS = frozenset({"workload"})
"""What whoever leaves last must know: an identity goes by its workload's mark."""
_THINGS: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {
    "service_account": _account_thing,
    "managed_identity": _identity_thing,
    "federated_credential": _credential_thing,
}
_CHECKS: Mapping[str, Callable[[StepContext, Mapping[str, Any], list[Linker]], Awaitable[str]]] = {
    "settings": _settings,
    "service_account": _account,
    "managed_identity": _identity,
    "federated_credential": _credential,
}
