"""Every target that works is connected, validated and disconnected, whole and in part, side by side."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from typing import Any

import pytest
from azure.mgmt.authorization.aio import AuthorizationManagementClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient

from sandbox.dataplane.postgres import RealServer
from shared.catalogue import catalogue
from shared.targets import TargetType
from tests.e2e import databases, together
from tests.e2e.native_rights import Right, kept_by_services
from tests.e2e.world import World
from tests.fakes.target_examples import Example, examples

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

LIMIT_SECONDS = 600
"""Far above what one wave of requests takes, for a machine that others use too."""
BODIES: dict[str, dict[str, Any]] = {
    "Microsoft.Storage": {"kind": "StorageV2", "sku": {"name": "Standard_LRS"}},
    "Microsoft.KeyVault": {
        "properties": {
            "tenantId": "00000000-0000-0000-0000-000000000000",
            "sku": {"family": "A", "name": "standard"},
            "accessPolicies": [],
            "enableRbacAuthorization": True,
        }
    },
}
"""What a PUT needs besides a location, by provider."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """One connection to make: an example in this subscription, whole or a part of it."""

    example: Example
    target_id: str
    resource_id: str
    intent: str

    def spec(self, world: World, namespace: str, number: int) -> dict[str, Any]:
        target = {"type": self.example.row.name, "id": self.target_id}
        more = {"intent": self.intent, "settingsIn": "configMap"} if self.intent else {}
        name = f"{self.example.row.name}-{number}"
        return world.spec(name, namespace=namespace, target=target, clientType="none", **more)


def connected() -> list[TargetType]:
    """Rows that can be connected to here: a database needs a server behind the emulated one."""
    real = RealServer.of_environment()
    return [row for row in catalogue().working if real is not None or row.database is None]


def wishes(world: World) -> list[Wish]:
    """Every variant of every row with Service Connector's roles; each kind of part with a narrow one."""
    found = []
    for row in connected():
        for example in examples(row):
            there = row.existence_id(example.id)
            group = f"{world.contract.cluster_id.split('/providers/')[0]}/providers/"
            provider = there.split("/providers/")[1].rpartition("/")[0]
            here = f"{group}{provider}/t{uuid.uuid4().hex[:20]}"

            def moved(target_id: str, there: str = there, here: str = here) -> str:
                return here + target_id.removeprefix(there)

            found.append(Wish(example, moved(example.id), here, ""))
            parts = [moved(one) for one in example.children if row.part_id(one)]
            found += [Wish(example, part, here, next(iter(row.intents))) for part in parts]
    return found


async def make(world: World, client: Any, wish: Wish) -> None:
    """Make the target as its owner does, and what it is a part of."""
    row, answer = wish.example.row, wish.example.answer
    parent_id = row.parent_id(wish.target_id)
    if parent_id:
        above = {"location": "westeurope", "properties": {}}
        above |= {name: one for name, one in (wish.example.parent or {}).items() if name == "kind"}
        poller = await client.resources.begin_create_or_update_by_id(
            parent_id, parameters=above, api_version=row.api_version
        )
        await poller.result()
    if row.database is not None:
        await databases.admit(world, parent_id)
    provider = wish.resource_id.split("/providers/")[1].split("/")[0]
    kind = {"kind": answer["kind"]} if row.variants else {}
    body = {"location": "westeurope", "properties": {}, **kind, **BODIES.get(provider, {})}
    poller = await client.resources.begin_create_or_update_by_id(
        wish.resource_id, parameters=body, api_version=row.api_version
    )
    await poller.result()


async def make_part(client: Any, wish: Wish) -> None:
    """Make the part of a target that a wish names; a list of them has each behind what it is below."""
    if wish.target_id != wish.resource_id and wish.intent:
        poller = await client.resources.begin_create_or_update_by_id(
            wish.target_id, parameters={"properties": {}}, api_version=wish.example.row.api_version
        )
        await poller.result()


async def carry_out(world: World, action: str, specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send a request for each connection at once, wait for all ends; returns the operations."""
    ids = [f"{action}-{uuid.uuid4().hex}" for _ in specs]
    key = ("name", "clusterId", "namespace")
    wishes = [spec if action == "create" else {name: spec[name] for name in key} for spec in specs]
    await world.send(
        *(
            {"action": action, "requestId": request_id, "connection": wish}
            for request_id, wish in zip(ids, wishes, strict=True)
        )
    )
    # One after the other: the host has better things to do than to answer many who ask.
    ended = [await world.ended(request_id, patience=LIMIT_SECONDS) for request_id in ids]
    assert [(one["code"], one["detail"]) for one in ended if one["state"] != "succeeded"] == []
    return ended


async def assignments(world: World) -> set[Right]:
    """Every assignment on anything in the group of the targets, also those that services keep themselves."""
    async with world.azure(AuthorizationManagementClient) as client:
        found = client.role_assignments.list_for_resource_group(world.contract.resource_group)
        azures = {
            (one.scope.lower(), one.principal_id, one.role_definition_id.rsplit("/", 1)[-1])
            async for one in found
        }
    return azures | await kept_by_services(world)


async def check(world: World, wish: Wish, connection: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Look at a connection's settings; returns the assignments that it must have."""
    row, variant = wish.example.row, wish.example.variant
    groups = row.auth["workloadIdentity"].groups("none")
    (group,) = [one for one in groups if one.variant in ("", variant)]
    namespace, names = connection["namespace"], connection["kubernetes"]
    if wish.intent:
        values = await world.cluster.config_map(namespace, names["configMap"])
    else:
        values = await world.cluster.secret(namespace, names["secret"])
    assert values is not None, wish
    assert set(values) == set(group.values), wish
    assert not [value for value in values.values() if not value or "{" in value], wish
    principal, scope = connection["identity"]["principalId"], row.scope(wish.target_id).lower()
    return {(scope, principal, role.id) for role in row.roles(wish.intent, variant=variant)}


@pytest.mark.timeout(LIMIT_SECONDS + 60)
async def test_every_target_that_works_lives_and_leaves_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
):
    await together.all_told()
    namespace, wanted = await world.cluster.new_namespace("every-target"), wishes(world)
    types = {wish.example.row.name for wish in wanted}
    assert types == {row.name for row in connected()}
    made = {wish.resource_id: wish for wish in wanted}
    async with world.azure(ResourceManagementClient) as client:
        await asyncio.gather(*(make(world, client, wish) for wish in made.values()))
        for wish in wanted:
            await make_part(client, wish)
    specs = [wish.spec(world, namespace, number) for number, wish in enumerate(wanted)]
    before, began = await assignments(world), time.monotonic()

    created = await carry_out(world, "create", specs)
    connections = [await world.connection(one["connectionId"]) for one in created]
    expected = [await check(world, *pair) for pair in zip(wanted, connections, strict=True)]
    assert await assignments(world) - before == set().union(*expected)
    for validation in await carry_out(world, "validate", specs):
        assert [one for one in validation["findings"] if one["result"] == "failed"] == []
    await carry_out(world, "delete", specs)

    took_seconds = time.monotonic() - began
    assert await assignments(world) == before
    assert await world.cluster.names(namespace) == ([], [])
    assert await world.cluster.config_maps(namespace) == []
    with capsys.disabled():
        what = f"{len(wanted)} connections to {len(types)} target types"
        print(f"\n{what}: created, validated, deleted in {took_seconds:.1f} s")
