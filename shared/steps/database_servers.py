"""The database server behind a target: whether it is there, runs, and lets the app in as an administrator.

Looks only. The app is never made an administrator by itself: that is the server owner's act, once a server
(docs/reference/postgresql.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import NotYetError, PermanentError, TransientError
from shared.facts import at
from shared.models import Finding
from shared.ports import DatabaseServer
from shared.steps.base import StepContext, found
from shared.steps.verdicts import Verdict
from shared.targets import TargetType

SERVES = frozenset({"ready", "updating"})
"""Folded states of a server that answers."""
_ADMIN, _REACHED, _FREE = "app-is-administrator", "database-reachable", "database-user-free"
UNREACHABLE = "database-unreachable"


def mark_of(ctx: StepContext) -> str:
    """What says of a user that this connection made it; it stands as a comment on the role."""
    return f"mooring {ctx.connection.connection_id}"


def place_of(target: TargetType, target_id: str, facts: Mapping[str, str]) -> dict[str, str]:
    """What has to be on record of a server, to find it again without its target."""
    assert target.database is not None  # noqa: S101 - the row says so, or the step is in no plan
    return {
        "serverId": target.parent_id(target_id),
        "apiVersion": target.api_version,
        "host": facts["host"],
        "tokenScope": target.database.token_scope,
    }


async def reached(ctx: StepContext, place: Mapping[str, Any]) -> DatabaseServer | None:
    """How the app reaches a server; ``None`` if Azure says that it is gone.

    Args:
        ctx: of the run.
        place: as ``place_of`` says.

    Raises:
        PermanentError: ``database-admin-missing``.
        NotYetError: ``target-updating``: the server does not answer now.
    """
    answer = await ctx.outside.resources.get(place["serverId"], api_version=place["apiVersion"])
    if answer is None:
        return None
    state = str(at(answer, "properties.state") or "")
    if state and state.lower() not in SERVES:
        raise NotYetError("target-updating", f"the server is {state}: {_starting(place['serverId'])}")
    return await _administered(ctx, place)


async def _administered(ctx: StepContext, place: Mapping[str, Any]) -> DatabaseServer:
    own_id = await ctx.outside.databases.own_object_id(place["tokenScope"])
    admin = await ctx.outside.resources.get(
        f"{place['serverId']}/administrators/{own_id}", api_version=place["apiVersion"]
    )
    name = str(at(admin or {}, "properties.principalName") or "")
    if not name:
        raise PermanentError(
            "database-admin-missing",
            "the app's identity is no Entra administrator of the server",
            remedy=_admitting(place["serverId"], own_id),
        )
    return DatabaseServer(host=place["host"], admin=name, token_scope=place["tokenScope"])


async def looked_at(ctx: StepContext, parent: Mapping[str, Any] | None) -> list[Verdict]:
    """Whether a connection's user could be made: administrator, network, sign-in, and the user's name.

    Args:
        ctx: of the run.
        parent: Azure's answer of the server.

    Raises:
        TransientError: the server is busy or restarts.
    """
    spec = ctx.connection.spec
    facts = ctx.target.facts(spec.target_id, {}, client_id="", parent=parent, connection_name=spec.name)
    place = place_of(ctx.target, spec.target_id, facts)
    try:
        server = await _administered(ctx, place)
    except PermanentError as error:
        return [Verdict(error.code, _failed(_ADMIN, error))]
    verdicts = [Verdict("", found(_ADMIN, ok=True, detail=server.admin))]
    try:
        await ctx.outside.databases.look(server, facts["database"])
        user = await ctx.outside.databases.user(server, facts["user"])
    except PermanentError as error:
        return [*verdicts, Verdict(error.code, _failed(_REACHED, error))]
    except TransientError as error:
        if error.code != UNREACHABLE:
            raise
        unreachable = PermanentError(error.code, f"no answer from {server.host}", remedy=_opening(place))
        return [*verdicts, Verdict(error.code, _failed(_REACHED, unreachable))]
    free = user is None or user.mark == mark_of(ctx)
    remedy = f'choose another name for the connection, or DROP ROLE "{facts["user"]}" if nothing needs it'
    return [
        *verdicts,
        Verdict("", found(_REACHED, ok=True, detail=server.host)),
        Verdict("database-user-foreign", found(_FREE, ok=free, detail=facts["user"], remedy=remedy)),
    ]


def _failed(name: str, error: PermanentError) -> Finding:
    return Finding(name=name, result="failed", detail=str(error), remedy=error.remedy)


def _names(server_id: str) -> tuple[str, str, str]:
    """Subscription, resource group and name of a server."""
    parts = server_id.split("/")
    return parts[2], parts[4], parts[-1]


def _starting(server_id: str) -> str:
    return f"az postgres flexible-server start --ids {server_id}"


def _opening(place: Mapping[str, Any]) -> str:
    subscription, group, server = _names(place["serverId"])
    return (
        "let the app's network in: az postgres flexible-server firewall-rule create"
        f" --subscription {subscription} --resource-group {group} --server-name {server} --rule-name mooring"
        " --start-ip-address <first> --end-ip-address <last>, or a private endpoint"
    )


def _admitting(server_id: str, own_id: str) -> str:
    subscription, group, server = _names(server_id)
    return (
        f"az postgres flexible-server microsoft-entra-admin create --subscription {subscription}"
        f" --resource-group {group} --server-name {server} --object-id {own_id} --type ServicePrincipal"
        " --display-name <name of the app's identity>"
    )
