"""Secrets and service accounts that nobody on record owns, and tables that were lost."""

import contextlib

import pytest

from shared import naming
from shared.models import ConnectionId, ConnectionState
from shared.orphans import Orphans
from shared.steps.base import ANNOTATION_KEEP, LABEL_CONNECTION, LABEL_MANAGED_BY
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.sweeps import CLIENT, connected, put_linker, swept

THEIRS = naming.connection_id(CLUSTER, "shop", "theirs")


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


async def test_what_went_with_its_connection_after_it_was_listed_is_no_orphan(app: LocalApp):
    connection_id = ConnectionId(await connected(app))
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects

    async def deleted() -> None:
        objects.clear()
        stored = await app.services.state.connection(connection_id)
        assert stored is not None
        ended = stored.value.model_copy(update={"state": ConnectionState.DELETED})
        await app.services.state.observe(ended, [], etag=stored.etag)
        app.store._tables["users"].clear()

    work = list[str]()

    def deleted_now(call: Call) -> None:
        if call.name == "linkers.list" and not work:
            work.append("deleted")
            with contextlib.suppress(StopIteration):
                deleted().send(None)

    app.journal.before = deleted_now
    found = await swept(app)
    assert work
    assert found["totals"]["orphans"] == {"identity": {"new": 1}}, "that is there still"


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


async def test_an_orphan_with_any_number_of_labels_fits_into_its_row(app: LocalApp):
    """Else whoever may label a secret keeps the sweep of its cluster from its end."""
    labels = {f"{'l' * 60}{number}": "v" * 63 for number in range(600)}
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-old-secret", labels=labels)
    assert (await swept(app))["totals"]["orphans"] == {"secret": {"new": 1}}
    [row] = app.store.rows("orphans")
    assert len(str(row.columns["body"])) < 32_000
