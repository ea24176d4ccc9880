"""Event Grid is silent: what was lost is found by a sweep, and goes as if an event had told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.sandbox_process import running_sandbox
from tests.e2e.test_service_connector import LINKER_VERSION, make_linker
from tests.e2e.world import Json, World, eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]


async def swept(world: World) -> Json:
    """Begin a sweep and wait for its end."""
    begun = await world.api("POST", "sweeps")
    assert (begun.status, begun.body["outcome"]) == (202, "opened"), begun.body

    async def look() -> Json | None:
        found = await world.api("GET", begun.headers["location"])
        return found.body if found.body["state"] == "done" else None

    try:
        return await eventually(look)
    except TimeoutError:
        raise AssertionError((await world.api("GET", begun.headers["location"])).body) from None


async def test_what_no_event_has_told_is_found_by_a_sweep_and_pruned(tmp_path: Path):
    with running_sandbox(tmp_path) as contract:
        async with World.opened(contract) as world:
            await world.control("PUT", "event-subscriptions", [])
            core = world.cluster.core
            places = [
                await world.cluster.new_namespace(name) for name in ("kept", "target", "gone", "theirs")
            ]
            kept, of_target, gone, theirs = places
            account_id = await world.new_account()
            target = {"type": "storage-blob", "id": account_id}
            stays = await world.create(world.spec("stays", namespace=kept))
            loses_target = await world.create(world.spec("loses", namespace=of_target, target=target))
            loses_place = await world.create(world.spec("homeless", namespace=gone))
            linker_id, identity = await make_linker(world, "their_blob", theirs)
            orphan = {"metadata": {"name": "sc-nobodys-secret"}, "stringData": {"a": "b"}}
            await core.create_namespaced_secret(kept, orphan)

            # Nothing is known of the linker yet: no event has told of it.
            assert (await world.api("GET", f"connections?namespace={theirs}")).body["connections"] == []
            first = await swept(world)
            assert first["details"] == {}, first
            assert first["totals"]["linkers"] == {"observed": 1}
            assert first["totals"]["orphans"] == {"secret": {"new": 1}}
            assert (first["totals"]["clusters"], first["totals"]["connections"]) == (1, 4)
            assert not {"prunes", "drift"} & set(first["totals"]), first["totals"]
            [seen] = (await world.api("GET", f"connections?namespace={theirs}")).body["connections"]
            assert seen["state"] == "observed"

            await world.delete_account(account_id)
            await world.delete_resource(linker_id, LINKER_VERSION)
            await core.delete_namespace(gone)
            secret = stays["kubernetes"]["secret"]
            await core.patch_namespaced_secret(
                secret, kept, {"stringData": {"AZURE_STORAGEBLOB_CLIENTID": "another"}}
            )

            second = await swept(world)
            assert second["details"] == {}, second
            assert second["totals"]["prunes"] == {"linker": 1, "namespace": 1, "target": 1}, second["totals"]
            assert second["totals"]["drift"] == {"values-edited": 1}
            assert second["totals"]["orphans"] == {"secret": {"known": 1}}
            for connection in (loses_target, loses_place, seen):
                await world.connection_in(connection["id"], "pruned")
                last = (await world.connection(connection["id"]))["lastOperation"]
                assert (await world.api("GET", last)).body["state"] == "succeeded"
            for place in (of_target, theirs):
                assert await world.cluster.names(place) == ([], [])
            for connection in (loses_target, loses_place):
                assert await world.identity(connection["identity"]["resourceId"]) is None
            assert await world.identity(identity.id) is not None

            shown = await world.connection_in(stays["id"], "configured")
            assert [one["kind"] for one in shown["drift"]["found"]] == ["values-edited"]
            assert (await world.cluster.names(kept))[0] == ["sc-nobodys-secret", "sc-stays-secret"]
            listed = (await world.api("GET", "sweeps")).body["sweeps"]
            assert [one["id"] for one in listed] == [second["id"], first["id"]]
