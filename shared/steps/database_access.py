"""The workload's identity has a user in the database server, with the privileges it needs and no more.

Azure's roles do not reach into a PostgreSQL server: a role of the server stands for the identity, named as
Service Connector names it and marked with the connection's id. It belongs to one connection and goes with it.
What it has come to own is data: such a user is kept from signing in and stays until a person has given its
tables to another owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import Done, Finding, Kind, Provenance
from shared.ports import DatabaseServer, Privileges
from shared.steps.base import StepContext, found
from shared.steps.database_servers import mark_of, place_of, reached
from shared.steps.removal import MADE_AGAIN, Removal, forget, leave, require_still_gone

KIND = "database-user"
_REPAIR = "send a repair request; of new tables of another owner: GRANT them to the user by hand"


class DatabaseAccess:
    """The database user exists with its privileges, or is gone."""

    name = "database_access"

    async def check(self, ctx: StepContext) -> list[Finding]:
        """Say whether the user is the one that was made, and may do what it should and nothing else."""
        items = _planned(ctx)
        if not items:
            return [found("database-user", ok=False, detail="none recorded")]
        item = items[0]
        try:
            server = await reached(ctx, item)
            if server is None:
                return [found("database-user", ok=False, detail="the server is gone")]
            user = await ctx.outside.databases.user(server, item["name"])
            access = await ctx.outside.databases.access(
                server, item["database"], item["name"], privileges=_privileges(ctx)
            )
        except PermanentError as error:
            return [Finding(name="database-user", result="failed", detail=str(error), remedy=error.remedy)]
        except NotYetError as error:
            return [Finding(name="database-user", result="unknown", detail=error.detail)]
        same = user is not None and (user.object_id, user.mark) == (item["objectId"], item["mark"])
        able = user is not None and user.may_sign_in
        lacking, beyond = ", ".join(access.lacking), ", ".join(access.beyond)
        narrow = Finding(
            name="database-privileges-narrow",
            result="warning" if beyond else "ok",
            detail=beyond,
            remedy=_REPAIR if beyond else "",
        )
        return [
            found("database-user", ok=same and able, detail=item["name"], remedy=_REPAIR),
            found("database-privileges", ok=not lacking, detail=lacking, remedy=_REPAIR),
            narrow,
        ]

    async def apply(self, ctx: StepContext) -> Done:
        """Make sure of the user, and of exactly its privileges.

        Raises:
            NotYetError: ``closing``, ``target-updating``, ``owns-data``, ``settle``.
            PermanentError: ``database-admin-missing``, ``database-user-foreign``, ``database-grant-refused``.
        """
        spec, facts = ctx.connection.spec, ctx.facts
        item = {
            **place_of(ctx.target, spec.target_id, facts),
            "database": facts["database"],
            "name": facts["user"],
            "objectId": ctx.output("managed_identity", "principalId").lower(),
            "mark": mark_of(ctx),
            "provenance": Provenance.CREATED,
        }
        await ctx.recorder.intend(item)
        await self._take_earlier(ctx, item)
        await ctx.users.join(user_thing(item), ctx.user, settled=ctx.recorder.settled)
        server = await reached(ctx, item)
        if server is None:
            raise PermanentError("target-not-found", item["serverId"])
        there = await ctx.outside.databases.user(server, item["name"])
        if there is not None and there.mark == item["mark"] and there.object_id != item["objectId"]:
            # The identity was made again: the old one's user must not let anybody in.
            await take_away(ctx, server, item)
        await ctx.outside.databases.ensure_user(
            server, item["name"], object_id=item["objectId"], mark=item["mark"]
        )
        await ctx.outside.databases.grant(
            server, item["database"], item["name"], mark=item["mark"], privileges=_privileges(ctx)
        )
        return Done(outputs={**item, "intent": spec.intent})

    async def revert(self, ctx: StepContext) -> Done:
        """Revoke the privileges and drop the user.

        Raises:
            NotYetError: ``owns-data``, ``target-updating``, ``policy-unreadable``, ``settle``.
            PermanentError: ``database-admin-missing``.
        """
        removal = Removal()
        await require_still_gone(ctx)
        for item in _planned(ctx):
            shown = {"kind": KIND, **item}
            if ctx.operation.report_only:
                removal.say(shown, "last-user", restorable="no", why=MADE_AGAIN)
                continue
            server = await reached(ctx, item)
            foreign = server is not None and await _foreign(ctx, server, item)
            leaving = await leave(ctx, user_thing(item))
            if leaving.shared:
                removal.keep(shown, "still-shared", "a later life of the connection uses it")
                continue
            if foreign:
                removal.keep(shown, "not-proven-ours", "the role bears another mark")
            elif server is None or not await take_away(ctx, server, item):
                removal.remove({**shown, "thing": user_thing(item)}, "already-gone")
            else:
                gone = {**shown, "thing": user_thing(item)}
                removal.remove(gone, "last-user", restorable="no", why=MADE_AGAIN)
            await forget(ctx, user_thing(item), by_creates=len(ctx.plans) > 1)
        return removal.done()

    async def _take_earlier(self, ctx: StepContext, item: Mapping[str, Any]) -> None:
        """Take away what this life was given before on another server or in another database."""
        for other in _planned(ctx):
            if user_thing(other) == user_thing(item):
                continue  # ids differ in casing between requests, and the user is the same
            server = await reached(ctx, other)
            leaving = await leave(ctx, user_thing(other))
            if leaving.last and server is not None and not await _foreign(ctx, server, other):
                await take_away(ctx, server, other)
            await forget(ctx, user_thing(other), by_creates=ctx.operation.kind is Kind.CREATE)


async def take_away(ctx: StepContext, server: DatabaseServer, item: Mapping[str, Any]) -> bool:
    """Revoke what a user was granted and drop it; says whether it was there.

    Raises:
        NotYetError: ``owns-data``: it owns something, or somebody else has granted it something. It cannot
            sign in any more.
    """
    databases, name, mark = ctx.outside.databases, item["name"], item["mark"]
    try:
        # What the user has passed on to others cannot be taken from it alone, either.
        for database in _databases(ctx, item):
            await databases.revoke(server, database, name, mark=mark)
        user = await databases.user(server, name)
        if user is None:
            return False
        if user.owns_in:
            await databases.bar_user(server, name, mark=mark)
            detail = _owning(name, user.owns_in)
            raise NotYetError("owns-data", detail, seconds=ctx.rules.hold_recheck_seconds)
        return await databases.drop_user(server, name, mark=mark)
    except PermanentError as error:
        if error.code != "database-user-bound":
            raise
        await databases.bar_user(server, name, mark=mark)
        detail = f'{error.detail}; REVOKE by hand what "{name}" passed on, or others granted it'
        raise NotYetError("owns-data", detail, seconds=ctx.rules.hold_recheck_seconds) from error


async def removed_again(ctx: StepContext, item: Mapping[str, Any], *, remove: bool) -> bool:
    """Say whether a removed user is there again, by a write of ours that landed late."""
    server = await reached(ctx, item)
    if server is None:
        return False
    user = await ctx.outside.databases.user(server, item["name"])
    if user is None or user.mark != item["mark"]:
        return False
    return not remove or await take_away(ctx, server, item)


def user_thing(item: Mapping[str, Any]) -> str:
    """Name of a database user's users row; each connection has its own."""
    return f"{KIND}|{naming.fold_id(item['serverId'])}|{item['name']}|{item['mark']}"


async def _foreign(ctx: StepContext, server: DatabaseServer, item: Mapping[str, Any]) -> bool:
    user = await ctx.outside.databases.user(server, item["name"])
    return user is not None and user.mark != item["mark"]


def _owning(name: str, owns_in: Iterable[str]) -> str:
    places = ", ".join(one or "the server itself" for one in owns_in)
    return f'in {places}: REASSIGN OWNED BY "{name}" TO <owner>;'


def _privileges(ctx: StepContext) -> Privileges:
    """What the user may do by the connection's intent."""
    database = ctx.target.database
    if database is None:
        raise PermanentError("missing-output", f"{ctx.target.name} has no database users")
    return database.privileges[ctx.connection.spec.intent]


def _planned(ctx: StepContext) -> list[dict[str, Any]]:
    """Users that this life meant to make, each once, the present one first."""
    items = [dict(plan.planned) for plan in ctx.plans if "serverId" in plan.planned]
    found_things: dict[str, dict[str, Any]] = {}
    for item in items:
        found_things.setdefault(user_thing(item), item)
    return list(found_things.values())


def _databases(ctx: StepContext, item: Mapping[str, Any]) -> list[str]:
    """Databases in which a user may have been granted something in this life."""
    planned = [plan.planned for plan in ctx.plans if "serverId" in plan.planned]
    same = [str(one["database"]) for one in planned if user_thing(one) == user_thing(item)]
    return list(dict.fromkeys([*same, str(item["database"])]))
