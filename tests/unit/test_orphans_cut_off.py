"""Naming an orphan is cut off, or its cluster is rebuilt: asked again it goes, and it blocks nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import naming
from shared.models import OperationId
from shared.orphans import Orphan, OrphanKind, orphan_id, record_id
from shared.steps.base import TAG_WORKLOAD
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body, make_app
from tests.unit.test_fitness_identities import OWN
from tests.unit.test_orphans_pruned import ask, everything, reported
from tests.unit.test_restore import restore

WRITES = ("state.transact", "queue.announce")


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1")


def crash_at(app: LocalApp, number: int, *, after: bool) -> list[str]:
    """The host dies at the so many-th write, before or after its effect; says at which, once it has."""
    died: list[str] = []
    left = [number]

    def rule(call: Call) -> BaseException | None:
        left[0] -= call.name in WRITES
        if left[0] or call.name not in WRITES or died:
            return None
        died.append(f"{call.name} {call.arguments[:1]}")
        return RuntimeError("crash")

    if after:
        app.journal.after = rule
    else:
        app.journal.before = rule
    return died


# --- a crash -------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [OrphanKind.SERVICE_ACCOUNT, OrphanKind.IDENTITY])
async def test_a_prune_that_was_cut_off_while_it_was_opened_is_opened_by_the_next_call(
    app: LocalApp, kind: OrphanKind, *, after: bool
):
    number = 0
    while True:
        orphan = await reported(app, kind)
        number += 1
        died = crash_at(app, number, after=after)
        try:
            await ask(app, orphan, f"k{number}")
        except RuntimeError:
            app.journal.after = app.journal.before = None
            await ask(app, orphan, f"k{number}")
        app.journal.after = app.journal.before = None
        await app.settle()
        assert everything(app) == [], died
        if not died:
            break
    assert number > 4


@pytest.mark.parametrize("number", range(1, 6))
async def test_one_that_was_cut_off_and_never_asked_for_again_keeps_nothing_from_going(
    app: LocalApp, number: int
):
    orphan = await _of_workload(app)
    crash_at(app, number, after=True)
    with pytest.raises(RuntimeError):
        await ask(app, orphan)
    app.journal.after = None
    await app.send(create_body(), message_id="c")
    await app.settle()
    assert list(app.world.identities) == [naming.fold_id(OWN)]
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600)
    assert everything(app) == [], "its last user has taken it along"


async def _of_workload(app: LocalApp) -> Orphan:
    """The identity that a create for the workload would use, as a sweep that knew no user reported it."""
    tags = {TAG_WORKLOAD: naming.workload_key(CLUSTER, "shop", "orders")}
    identity = await app.services.engine.outside.identities.ensure(OWN, location="westeurope", tags=tags)
    name = OWN.rpartition("/")[-1]
    orphan = Orphan(
        orphan_id=orphan_id(OrphanKind.IDENTITY, name=name, resource_id=OWN),
        kind=OrphanKind.IDENTITY,
        name=name,
        uid=identity.principal_id,
        resource_id=OWN,
        rule="no-users",
        first_seen_at=app.clock.now(),
        last_seen_at=app.clock.now(),
    )
    return await app.services.orphans.put(orphan)


# --- the life of the cluster ---------------------------------------------------------------------


async def issuer_on_record(app: LocalApp, orphan: Orphan) -> str:
    intents = await app.services.state.intents(record_id(orphan.orphan_id))
    return str(intents["preflight"].outputs["issuer"]) if "preflight" in intents else ""


async def test_the_issuer_of_the_clusters_life_is_recorded_with_the_orphan(app: LocalApp):
    issuer = app.world.clusters[naming.fold_id(CLUSTER)].described.issuer
    secret = await reported(app, OrphanKind.SECRET)
    await ask(app, secret)
    assert await issuer_on_record(app, secret) == issuer != ""
    identity = await reported(app, OrphanKind.IDENTITY)
    await ask(app, identity)
    assert await issuer_on_record(app, identity) == "", "an identity is in no cluster"


async def gone(app: LocalApp, orphan: Orphan) -> OperationId:
    operation_id = await ask(app, orphan)
    await app.settle()
    stored = await app.services.state.operation(operation_id)
    assert stored is not None
    assert (stored.value.state, stored.value.code) == ("succeeded", "")
    return operation_id


async def test_an_orphan_is_put_back_into_the_life_of_the_cluster_that_it_was_in(app: LocalApp):
    prune_id = await gone(app, await reported(app, OrphanKind.SERVICE_ACCOUNT))
    stored = await app.services.state.operation(prune_id)
    assert stored is not None
    restored = await restore(app, stored.value)
    assert restored.state == "succeeded"
    assert [line.split("/")[-1] for line in app.leftovers()["objects"]] == ["sc-account-lost"]


async def test_an_orphan_is_not_put_back_into_a_cluster_that_was_rebuilt(app: LocalApp):
    prune_id = await gone(app, await reported(app, OrphanKind.SERVICE_ACCOUNT))
    app.world.remove(CLUSTER)
    app.world.add_cluster(CLUSTER, namespaces=("shop",), issuer="https://another")
    stored = await app.services.state.operation(prune_id)
    assert stored is not None
    refused = await restore(app, stored.value)
    assert (refused.state, refused.code) == ("failed", "not-restorable")
    assert "another cluster" in refused.detail
    assert app.leftovers()["objects"] == []


@pytest.mark.parametrize(("there", "code"), [(True, "orphan-changed"), (False, "")])
async def test_a_cluster_that_is_rebuilt_after_the_orphan_was_named_keeps_what_it_has(
    app: LocalApp, code: str, *, there: bool
):
    operation_id = await ask(app, await reported(app, OrphanKind.SERVICE_ACCOUNT))
    app.world.remove(CLUSTER)
    app.world.add_cluster(CLUSTER, namespaces=("shop",), issuer="https://another")
    if there:
        app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", "sc-account-lost")
    pod = {"serviceAccountName": "sc-account-lost", "containers": []}
    app.clusters.put_pod(CLUSTER, "shop", "p", pod)
    await app.settle()
    snapshot = await app.services.state.load(operation_id)
    assert snapshot is not None
    assert (snapshot.operation.value.state, snapshot.operation.value.code) == ("succeeded", code)
    assert len(app.leftovers()["objects"]) == there
    if not there:
        removed = snapshot.steps["service_account"].value.outputs["removed"]
        assert [(one["rule"], one["found"]) for one in removed] == [("cluster-gone", False)]
    assert app.leftovers()["users"] == []
