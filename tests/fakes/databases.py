"""PostgreSQL servers in a dictionary."""

from __future__ import annotations

import dataclasses

from shared.errors import Pace, PermanentError, TransientError
from shared.ports import Access, DatabaseServer, DatabaseUser, Privileges
from tests.fakes.azure_world import AzureWorld

APP_OBJECT_ID = "22222222-2222-4222-8222-222222222223"


@dataclasses.dataclass(slots=True)
class StoredRole:
    """A role of a server."""

    object_id: str = ""
    mark: str = ""
    may_sign_in: bool = True


@dataclasses.dataclass(slots=True)
class StoredDatabase:
    """A database with one schema."""

    owner: str
    relations: dict[str, str] = dataclasses.field(default_factory=dict)
    """Owner by name; a sequence's name ends in ``_seq``."""
    grants: dict[str, dict[str, set[str]]] = dataclasses.field(default_factory=dict)
    """Privileges by role and by relation; ``database`` and ``schema`` are those two."""
    lasting: dict[str, dict[str, Privileges]] = dataclasses.field(default_factory=dict)
    """What a role gets on what an owner makes later."""

    def make(self, name: str, owner: str) -> None:
        """Make a table or a sequence, as its owner."""
        self.relations[name] = owner
        for role, owners in self.lasting.items():
            if owner in owners:
                on = _on(owners[owner], name)
                self.grants.setdefault(role, {}).setdefault(name, set()).update(on)


@dataclasses.dataclass(slots=True)
class StoredServer:
    """A server."""

    databases: dict[str, StoredDatabase] = dataclasses.field(default_factory=dict)
    roles: dict[str, StoredRole] = dataclasses.field(default_factory=dict)
    admins: set[str] = dataclasses.field(default_factory=set)
    acts_for: set[str] = dataclasses.field(default_factory=set)
    """Roles for which the administrators may act."""
    reachable: bool = True
    entra: bool = True


class InMemoryDatabases:
    """``ports.Databases`` for tests."""

    def __init__(self, world: AzureWorld) -> None:
        self._world = world

    async def own_object_id(self, token_scope: str) -> str:
        assert token_scope.endswith("/.default")
        return APP_OBJECT_ID

    async def look(self, server: DatabaseServer, database: str) -> None:
        self._database(server, database)

    async def user(self, server: DatabaseServer, name: str) -> DatabaseUser | None:
        stored = self._server(server)
        role = stored.roles.get(name)
        if role is None:
            return None
        owns = sorted(key for key, one in stored.databases.items() if name in one.relations.values())
        return DatabaseUser(
            name=name,
            object_id=role.object_id,
            mark=role.mark,
            may_sign_in=role.may_sign_in,
            owns_in=tuple(owns),
        )

    async def ensure_user(
        self, server: DatabaseServer, name: str, *, object_id: str, mark: str
    ) -> DatabaseUser:
        roles = self._server(server).roles
        made = roles.setdefault(name, StoredRole(object_id.lower(), mark))
        if (made.object_id, made.mark) != (object_id.lower(), mark):
            raise _foreign(name)
        made.may_sign_in = True
        there = await self.user(server, name)
        assert there is not None
        return there

    async def bar_user(self, server: DatabaseServer, name: str, *, mark: str) -> None:
        role = self._ours(server, name, mark)
        if role is not None:
            role.may_sign_in = False

    async def drop_user(self, server: DatabaseServer, name: str, *, mark: str) -> bool:
        if self._ours(server, name, mark) is None:
            return False
        stored = self._server(server)
        if any(
            name in one.relations.values() or one.grants.get(name) or name in one.lasting
            for one in stored.databases.values()
        ):
            raise PermanentError("database-user-bound", name)
        del stored.roles[name]
        return True

    async def grant(
        self, server: DatabaseServer, database: str, name: str, *, mark: str, privileges: Privileges
    ) -> None:
        stored = self._database(server, database)
        if self._ours(server, name, mark) is None:
            raise TransientError("database-changed", f"{name} is gone")
        acts_for = self._server(server).acts_for
        if name in stored.relations.values() and "CREATE" not in privileges.on_database:
            raise PermanentError("database-grant-refused", f"{name} itself", remedy="REASSIGN OWNED")
        others = {one: owner for one, owner in stored.relations.items() if owner != name}
        theirs = {owner for one, owner in others.items() if owner not in acts_for and _on(privileges, one)}
        everybodys = {"CONNECT", "TEMPORARY"}
        beyond = set(privileges.on_database) - everybodys
        if theirs or (beyond and stored.owner not in acts_for):
            raise PermanentError("database-grant-refused", ", ".join(sorted(theirs)), remedy="GRANT")
        stored.grants[name] = {
            "database": set(privileges.on_database),
            "schema": set(privileges.on_schema),
            **{one: set(_on(privileges, one)) for one in others if _on(privileges, one)},
        }
        owners = {stored.owner, *others.values()} & acts_for if privileges.lasting else set()
        stored.lasting[name] = dict.fromkeys(owners, privileges)

    async def access(
        self, server: DatabaseServer, database: str, name: str, *, privileges: Privileges
    ) -> Access:
        stored = self._database(server, database)
        if name not in self._server(server).roles:
            return Access(lacking=("the role itself",))
        granted = stored.grants.get(name, {})
        wanted = {
            f"database {database}": (set(privileges.on_database), granted.get("database", set())),
            f"schema {privileges.schema}": (set(privileges.on_schema), granted.get("schema", set())),
            **{
                f"{privileges.schema}.{one}": (set(_on(privileges, one)), granted.get(one, set()))
                for one, owner in stored.relations.items()
                if owner != name
            },
        }
        lacking = [f"{one} on {what}" for what, (want, have) in wanted.items() for one in sorted(want - have)]
        beyond = [f"{one} on {what}" for what, (want, have) in wanted.items() for one in sorted(have - want)]
        return Access(lacking=tuple(lacking), beyond=tuple(beyond))

    async def revoke(self, server: DatabaseServer, database: str, name: str, *, mark: str) -> None:
        stored = self._server(server)
        if self._ours(server, name, mark) is None or database not in stored.databases:
            return
        stored.databases[database].grants.pop(name, None)
        stored.databases[database].lasting.pop(name, None)

    def _server(self, server: DatabaseServer) -> StoredServer:
        stored = self._world.servers.get(server.host)
        if stored is None or not stored.reachable:
            raise TransientError("database-unreachable", server.host, pace=Pace.SLOW)
        if server.admin not in stored.admins:
            raise PermanentError("database-login-refused", server.admin, remedy="make it an administrator")
        if not stored.entra:
            raise PermanentError("database-entra-off", server.host)
        return stored

    def _database(self, server: DatabaseServer, name: str) -> StoredDatabase:
        found = self._server(server).databases.get(name)
        if found is None:
            raise PermanentError("database-missing", name, remedy="name a database that there is")
        return found

    def _ours(self, server: DatabaseServer, name: str, mark: str) -> StoredRole | None:
        role = self._server(server).roles.get(name)
        if role is not None and role.mark != mark:
            raise _foreign(name)
        return role


def _on(privileges: Privileges, relation: str) -> tuple[str, ...]:
    return privileges.on_sequences if relation.endswith("_seq") else privileges.on_tables


def _foreign(name: str) -> PermanentError:
    return PermanentError("database-user-foreign", name, remedy="another name")
