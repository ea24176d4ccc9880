"""What a sweep records of Service Connector's connections, whom no event has told of them."""

import dataclasses

import pytest

from shared import naming
from shared.errors import Pace, TransientError
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.sweeps import CLIENT, put_linker, swept

THEIRS = naming.connection_id(CLUSTER, "shop", "theirs")
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"


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


async def test_a_cluster_that_takes_a_linker_along_leaves_nobody_as_a_user_of_its_account(app: LocalApp):
    put_linker(app)
    await swept(app)
    assert len(app.leftovers()["users"]) == 1
    app.world.remove(CLUSTER)
    assert (await swept(app))["totals"]["prunes"] == {"cluster": 1}
    await app.settle()
    assert await app.state(THEIRS) == "pruned"
    assert app.leftovers()["users"] == []


@pytest.mark.parametrize("sweeps", [1, 2])
async def test_a_linkers_identity_that_a_list_did_not_have_yet_is_found_by_a_later_sweep(
    app: LocalApp, sweeps: int
):
    put_linker(app)
    [(key, identity)] = app.world.identities.items()
    del app.world.identities[key]
    for _ in range(sweeps):
        await swept(app)
    app.world.identities[key] = identity
    await swept(app)
    place = (await app.services.state.intents(naming.ConnectionId(THEIRS)))["preflight"]
    assert place.outputs["identityId"] == identity.resource_id
    relying = await app.services.events.dependents.of(identity.resource_id)
    assert [one.connection_id for one in relying] == [THEIRS]
    assert "linkers" not in (await swept(app))["totals"]


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


async def test_a_namespace_under_a_living_linker_is_told_and_nothing_is_pruned(app: LocalApp):
    put_linker(app)
    await swept(app)
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.namespaces.remove("shop")
    cluster.objects.clear()
    found = await swept(app)
    assert found["totals"]["drift"] == {"namespace-missing": 1}
    assert "prunes" not in found["totals"]


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


@pytest.mark.parametrize("housekept", [False, True])
async def test_a_linker_that_was_made_again_and_no_event_told_of_is_recorded_anew(
    app: LocalApp, *, housekept: bool
):
    put_linker(app)
    await swept(app)
    app.world.remove(LINKER)
    await swept(app)
    await app.settle()
    assert await app.state(THEIRS) == "pruned"
    if housekept:
        await swept(app)
    put_linker(app)
    assert (await swept(app))["totals"]["linkers"] == {"observed": 1}
    assert await app.state(THEIRS) == "observed"
    assert "linkers" not in (await swept(app))["totals"]


async def test_a_linker_with_another_identity_is_recorded_with_its_new_account(app: LocalApp):
    put_linker(app)
    await swept(app)
    other = CLIENT.replace("4", "5")
    put_linker(app, client_id=other)
    assert (await swept(app))["totals"]["linkers"] == {"observed": 1}
    intents = await app.services.state.intents(THEIRS)
    assert intents["service_account"].planned["name"] == f"sc-account-{other}"
