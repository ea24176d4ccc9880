"""What a sweep finds in a cluster that no event has told."""

import dataclasses

import pytest

from shared import naming
from shared.errors import Pace, PermanentError, TransientError
from shared.orphans import Orphans
from shared.steps.base import ANNOTATION_KEEP, LABEL_CONNECTION, LABEL_MANAGED_BY
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.sweeps import CLIENT, connected, prunes, put_linker, swept

THEIRS = naming.connection_id(CLUSTER, "shop", "theirs")


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


async def test_a_linker_that_no_event_has_told_of_is_recorded_and_pruned_once_it_is_gone(app: LocalApp):
    linker_id = put_linker(app)
    found = await swept(app)
    assert found["totals"]["linkers"] == {"observed": 1}
    assert "orphans" not in found["totals"]
    assert await app.state(THEIRS) == "observed"
    assert "linkers" not in (await swept(app))["totals"]

    app.world.remove(linker_id)
    found = await swept(app)
    assert found["totals"]["prunes"] == {"linker": 1}
    await app.settle()
    assert await app.state(THEIRS) == "pruned"
    assert app.leftovers()["objects"] == []


async def test_a_linker_that_changed_is_recorded_anew(app: LocalApp):
    linker_id = put_linker(app)
    await swept(app)
    app.world.linkers[naming.fold_id(linker_id)] = dataclasses.replace(
        app.world.linkers[naming.fold_id(linker_id)], client_type="python"
    )
    assert (await swept(app))["totals"]["linkers"] == {"observed": 1}
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    assert stored.value.spec.client_type == "python"


async def test_an_object_that_service_connector_made_anew_is_known_by_its_new_uid(app: LocalApp):
    put_linker(app)
    await swept(app)
    del app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", "sc-theirs-secret"]
    again = app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    assert (await swept(app))["totals"]["linkers"] == {"observed": 1}
    assert (await app.services.state.intents(THEIRS))["settings"].outputs["uid"] == again.uid


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


async def test_a_list_without_namespaces_is_no_list(app: LocalApp):
    await connected(app)
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.clear()
    assert "prunes" not in (await swept(app))["totals"]


async def test_a_namespace_under_a_living_linker_is_told_and_nothing_is_pruned(app: LocalApp):
    put_linker(app)
    await swept(app)
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.namespaces.remove("shop")
    cluster.objects.clear()
    found = await swept(app)
    assert found["totals"]["drift"] == {"namespace-missing": 1}
    assert "prunes" not in found["totals"]


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


async def test_a_stopped_cluster_is_not_asked(app: LocalApp):
    await connected(app)
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, power_state="Stopped")
    found = await swept(app)
    assert found["details"] == {"stopped": 1}
    assert found["calls"].get("kubernetes") is None


async def test_without_the_right_to_list_objects_the_rest_is_done(app: LocalApp):
    connection_id = await connected(app)

    def refuse(call: Call) -> BaseException | None:
        listed = call.name == "clusters.list_objects"
        return PermanentError("kubernetes-access-denied", "no") if listed else None

    app.journal.before = refuse
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.remove("shop")
    found = await swept(app)
    assert found["details"] == {"objects-not-listed": 1}
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


async def test_what_looks_like_a_connections_and_is_nobodys_is_an_orphan(app: LocalApp):
    await connected(app)
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-old-secret")
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{CLIENT}")
    labels = {LABEL_MANAGED_BY: "mooring", LABEL_CONNECTION: "0" * 24}
    app.clusters.put_object(CLUSTER, "Secret", "shop", "renamed", labels=labels)
    app.clusters.put_object(CLUSTER, "Secret", "shop", "mine", labels={"app": "mine"})
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", "sc-account-not-a-guid")
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-kept-secret", annotations={ANNOTATION_KEEP: ""})
    app.clusters.put_object(CLUSTER, "Secret", "kube-system", "sc-system-secret")
    found = await swept(app)
    assert found["totals"]["orphans"] == {"secret": {"new": 2}, "service-account": {"new": 1}}
    listed = await Orphans(app.store).list(CLUSTER)
    assert {(one.name, one.rule) for one in listed} == {
        ("sc-old-secret", "no-record"),
        (f"sc-account-{CLIENT}", "no-record"),
        ("renamed", "no-record"),
    }
    app.clock.advance(3600)
    again = await swept(app)
    assert again["totals"]["orphans"] == {"secret": {"known": 2}, "service-account": {"known": 1}}


async def test_an_orphan_that_is_gone_is_forgotten_by_the_second_sweep_that_misses_it(app: LocalApp):
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-old-secret")
    await swept(app)
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    objects.clear()
    app.clock.advance(3600)
    assert (await swept(app))["totals"]["orphans"] == {"secret": {"gone": 1}}
    assert len(app.store.rows("orphans")) == 1
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = False
    app.clock.advance(3600)
    await swept(app)
    assert len(app.store.rows("orphans")) == 1
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = True
    app.clock.advance(3600)
    await swept(app)
    assert app.store.rows("orphans") == []


async def test_an_object_that_is_there_again_after_its_connection_ended_is_an_orphan(app: LocalApp):
    linker_id = put_linker(app)
    await swept(app)
    app.world.remove(linker_id)
    await swept(app)
    await app.settle()
    assert await app.state(THEIRS) == "pruned"
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    found = await swept(app)
    assert found["totals"]["orphans"] == {"secret": {"new": 1}}
    assert len(app.world.clusters[naming.fold_id(CLUSTER)].objects) == 1


async def test_what_belongs_to_a_linker_made_between_the_lists_is_no_orphan(app: LocalApp):
    def made_now(call: Call) -> None:
        if call.name == "linkers.list" and not app.world.linkers:
            put_linker(app)

    app.journal.before = made_now
    found = await swept(app)
    assert "orphans" not in found["totals"]
    assert found["totals"]["linkers"] == {"observed": 1}


async def test_with_the_rows_lost_living_objects_are_orphans_at_most_and_nothing_is_removed(app: LocalApp):
    await connected(app)
    before = (dict(app.world.identities), app.world.clusters[naming.fold_id(CLUSTER)].objects.copy())
    for table in ("connections", "users", "dependents", "linkers", "openoperations"):
        app.store._tables[table].clear()
    found = await swept(app)
    await app.settle()
    assert found["totals"]["orphans"] == {
        "identity": {"new": 1},
        "secret": {"new": 1},
        "service-account": {"new": 1},
    }
    assert (app.world.identities, app.world.clusters[naming.fold_id(CLUSTER)].objects) == before


@pytest.mark.parametrize("table", ["users", "dependents", "linkers"])
async def test_with_one_table_lost_nothing_that_lives_is_removed_or_called_an_orphan(
    app: LocalApp, table: str
):
    connection_id = await connected(app)
    before = app.leftovers()
    app.store._tables[table].clear()
    found = await swept(app)
    await app.settle()
    assert await app.state(connection_id) == "configured"
    after = app.leftovers()
    assert {**after, "users": ""} == {**before, "users": ""}
    assert "orphans" not in found["totals"]
    if table == "linkers":
        assert found["totals"]["entriesMissing"] == 1
        assert (await swept(app))["totals"]["connections"] == 1


async def test_a_linker_that_cannot_be_recorded_now_is_left_for_the_next_sweep(app: LocalApp):
    put_linker(app)

    def broken(call: Call) -> BaseException | None:
        if call.name == "linkers.get":
            return TransientError("service-error", "later", pace=Pace.FAST)
        return None

    app.journal.before = broken
    found = await swept(app)
    assert found["details"] == {"service-error": 1}
    app.journal.before = None
    assert (await swept(app))["totals"]["linkers"] == {"observed": 1}
