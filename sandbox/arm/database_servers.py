"""PostgreSQL servers, their databases and administrators; with a real server behind them, there as well."""

from __future__ import annotations

from sandbox.arm.call import Answer, Call
from sandbox.arm.ids import id_key, parse_id
from sandbox.arm.store import Body
from sandbox.arm.target_shapes import TargetShape
from sandbox.arm.targets import Target
from sandbox.arm.world import World
from sandbox.dataplane.postgres import RealServer


class FlexibleServers(Target):
    """Without a real server the name that a GET answers leads nowhere."""

    def made(self, call: Call, existing: Body | None) -> Body:
        body = super().made(call, existing)
        real = RealServer.of_environment()
        if real is not None:
            body["properties"]["fullyQualifiedDomainName"] = real.host
        return body

    async def destroy(self, body: Body) -> None:
        real = RealServer.of_environment()
        for one in self.store.of_type(Databases.kind, body["id"]) if real else ():
            if real is not None and id_key(one["id"]).startswith(id_key(body["id"]) + "/"):
                await real.drop_database(one["name"])
        await super().destroy(body)


class Databases(Target):
    """Databases of a server."""

    kind = "Microsoft.DBforPostgreSQL/flexibleServers/databases"

    async def put(self, call: Call) -> Answer:
        real = RealServer.of_environment()
        if real is not None:
            await real.make_database(call.id.name)
        return await super().put(call)

    async def destroy(self, body: Body) -> None:
        real = RealServer.of_environment()
        if real is not None:
            await real.drop_database(body["name"])
        await super().destroy(body)


class Administrators(Target):
    """Entra administrators of a server, by object id."""

    async def put(self, call: Call) -> Answer:
        real = RealServer.of_environment()
        if real is not None:
            await real.make_administrator(str(call.properties["principalName"]), call.id.name)
        return await super().put(call)

    def made(self, call: Call, existing: Body | None) -> Body:
        body = super().made(call, existing)
        tenant_id = self.world.topology.tenant_id
        body["properties"] = {
            "objectId": parse_id(body["id"]).name,
            "tenantId": tenant_id,
            **body["properties"],
        }
        body["properties"].pop("provisioningState", None)
        return body


def target_of(world: World, shape: TargetShape) -> Target:
    """The resource type of a shape."""
    return _OWN.get(shape.type, Target)(world, shape)


_OWN: dict[str, type[Target]] = {
    "Microsoft.DBforPostgreSQL/flexibleServers": FlexibleServers,
    Databases.kind: Databases,
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators": Administrators,
}
