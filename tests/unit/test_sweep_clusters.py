"""What a sweep finds in a cluster that no event has told."""

import dataclasses
import logging

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.ports import Upsert
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body
from tests.fakes.sweeps import connected, prunes, put_linker, swept

THEIRS = naming.connection_id(CLUSTER, "shop", "theirs")
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"


async def test_a_sweep_of_a_world_in_order_finds_nothing_and_says_so(app: LocalApp):
    connection_id = await connected(app)
    before = app.leftovers()
    found = await swept(app)
    assert found["state"] == "done"
    assert found["totals"] == {"clusters": 1, "connections": 1, "objects": 2, "subscriptions": 1}
    assert found["details"] == {}
    assert app.leftovers() == before
    assert await prunes(app, connection_id) == []


async def test_a_cluster_that_is_gone_prunes_what_hung_on_it(app: LocalApp):
    connection_id = await connected(app)
    app.world.remove(CLUSTER)
    found = await swept(app)
    assert found["totals"]["prunes"] == {"cluster": 1}
    assert found["details"] == {"cluster-gone": 1}
    assert await prunes(app, connection_id) == [("cluster", "sweep")]
    await app.settle()
    assert await app.state(connection_id) == "orphaned"
    assert (await swept(app))["totals"].get("prunes") is None


async def test_a_cluster_of_another_issuer_is_another_cluster(app: LocalApp):
    connection_id = await connected(app)
    app.world.clusters[naming.fold_id(CLUSTER)].described = dataclasses.replace(
        app.world.clusters[naming.fold_id(CLUSTER)].described, issuer="https://issuer.example/new/"
    )
    found = await swept(app)
    assert found["totals"]["prunes"] == {"cluster": 1}
    await app.settle()
    assert await app.state(connection_id) == "orphaned"


async def test_a_cluster_that_names_no_issuer_for_now_has_no_dead_one(app: LocalApp):
    await connected(app)
    await swept(app)
    described = app.world.clusters[naming.fold_id(CLUSTER)].described
    app.world.clusters[naming.fold_id(CLUSTER)].described = dataclasses.replace(described, issuer="")
    await swept(app)
    [watched] = await app.services.sweeping.sweeper.inventory.clusters()
    assert (watched.issuer, watched.former_issuers) == (described.issuer, ())


async def test_a_namespace_that_is_gone_prunes_its_connections_and_one_that_is_going_does_not(app: LocalApp):
    connection_id = await connected(app)
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.terminating.add("shop")
    assert "prunes" not in (await swept(app))["totals"]
    cluster.terminating.clear()
    cluster.namespaces.remove("shop")
    cluster.objects.clear()
    found = await swept(app)
    assert found["totals"]["prunes"] == {"namespace": 1}
    [operation] = [one for one in await app.operations(connection_id) if one.cause]
    assert operation.cause is not None
    assert operation.cause.resource_id == f"{CLUSTER}/namespaces/shop"


async def test_a_create_that_failed_before_it_made_anything_has_nothing_to_lose(app: LocalApp):
    record = await app.send(create_body(namespace="nowhere"), message_id="m")
    await app.settle()
    assert await app.state(record.connection_id) == "failed"
    app.world.remove(STORAGE)
    assert "prunes" not in (await swept(app))["totals"]
    app.world.remove(CLUSTER)
    assert "prunes" not in (await swept(app))["totals"]
    assert await app.state(record.connection_id) == "failed"


async def test_a_list_without_namespaces_is_no_list(app: LocalApp):
    await connected(app)
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.clear()
    assert "prunes" not in (await swept(app))["totals"]


async def test_a_cluster_that_does_not_answer_ends_its_slice_and_stops_nothing_else(app: LocalApp):
    connection_id = await connected(app)
    put_linker(app)
    await swept(app)
    identity = next(iter(app.world.identities))
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = False
    app.world.remove(identity)
    found = await swept(app)
    assert found["state"] == "done"
    assert found["details"] == {"unreachable": 1}
    assert found["totals"]["clustersUnreachable"] == 1
    assert found["totals"]["prunes"] == {"identity": 1}
    assert found["totals"].get("orphans") is None
    assert ("identity", "sweep") in await prunes(app, connection_id)


async def test_the_line_of_each_run_says_which_cluster_gave_no_answer(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    put_linker(app)
    with caplog.at_level(logging.INFO, "mooring"):
        await swept(app)
        app.world.clusters[naming.fold_id(CLUSTER)].reachable = False
        await swept(app)
    lines = [record.getMessage() for record in caplog.records if "slice=cluster-" in record.getMessage()]
    name = CLUSTER.rpartition("/")[2]
    assert [f"cluster={name}" in line.split() for line in lines] == [True, True]
    assert ["details=unreachable" in line.split() for line in lines] == [False, True]


async def test_a_stopped_cluster_is_not_asked(app: LocalApp):
    await connected(app)
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, power_state="Stopped")
    found = await swept(app)
    assert found["details"] == {"stopped": 1}
    assert found["calls"].get("kubernetes") is None


async def test_a_cluster_without_entra_is_named_and_not_asked(app: LocalApp):
    connection_id = await connected(app)
    put_linker(app)
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, entra=False)
    app.journal.calls.clear()
    found = await swept(app)
    assert found["details"] == {"cluster-without-entra": 1}
    assert found["totals"]["clustersUnreachable"] == 1
    asked = {call.name for call in app.journal.calls if call.name.startswith("clusters.")}
    assert asked == {"clusters.describe"}
    assert await prunes(app, connection_id) == []


async def test_without_the_right_to_list_objects_the_rest_is_done(app: LocalApp):
    connection_id = await connected(app)

    def refuse(call: Call) -> BaseException | None:
        listed = call.name == "clusters.list_objects"
        return PermanentError("kubernetes-access-denied", "no") if listed else None

    app.journal.before = refuse
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.remove("shop")
    found = await swept(app)
    assert found["details"] == {"objects-not-listed": 1, "accounts-not-listed": 1}
    assert "drift" not in found["totals"]
    assert await prunes(app, connection_id) == [("namespace", "sweep")]


async def test_without_the_right_to_list_namespaces_objects_are_still_looked_at(app: LocalApp):
    await connected(app)

    def refuse(call: Call) -> BaseException | None:
        listed = call.name == "clusters.list_namespaces"
        return PermanentError("kubernetes-access-denied", "no") if listed else None

    app.journal.before = refuse
    app.world.clusters[naming.fold_id(CLUSTER)].objects.clear()
    for names, drift in (('["*"]', 2), ('["shop", "b*"]', 2), ('["b*"]', 0)):
        text = app.policy_file.read_text()
        before = text.partition("namespaces = ")[2].partition("\n")[0]
        app.policy_file.write_text(text.replace(f"namespaces = {before}", f"namespaces = {names}"))
        found = await swept(app)
        assert found["details"] == {"namespaces-not-listed": 1}
        assert found["totals"]["namespacesNotListed"] == 1
        assert found["totals"].get("drift", {"object-missing": 0}) == {"object-missing": drift}


async def test_a_cluster_that_the_policy_lists_no_more_is_asked_nothing(app: LocalApp):
    await connected(app)
    app.policy_file.write_text("version = 1\n")
    app.world.remove(CLUSTER)
    before = len(app.journal.calls)
    found = await swept(app)
    assert found["details"] == {"not-in-policy": 1}
    assert not {name for name in app.journal.names()[before:] if name.startswith("clusters.")}


async def test_an_unreadable_policy_ends_the_slices_of_clusters_and_no_other(app: LocalApp):
    connection_id = await connected(app)
    app.policy_file.write_text("nonsense")
    identity = next(iter(app.world.identities))
    app.world.remove(identity)
    found = await swept(app)
    assert found["details"] == {"policy-unreadable": 1}
    assert await prunes(app, connection_id) == [("identity", "sweep")]


async def test_a_row_of_the_inventory_that_cannot_be_read_stops_nothing(app: LocalApp):
    put_linker(app)
    await swept(app)
    [row] = [one for one in app.store.rows("linkers") if one.columns.get("name") == "theirs"]
    broken = Upsert(key=row.key, columns={**row.columns, "body": "{}"})
    await app.store.transact("linkers", row.partition, [broken])
    found = await swept(app)
    assert (found["state"], found["totals"]["linkers"]) == ("done", {"observed": 1})
