"""Service Connector's connections: what is recorded of them alive, and what is only reported when it goes."""

import dataclasses
from pathlib import Path

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.models import ConnectionState, Intent
from shared.observing import IDENTITY_LOOKS
from shared.ports import Identity, Linker
from shared.steps.base import ANNOTATION_NONCE, LABEL_MANAGED_BY
from tests.fakes.azure_world import StoredCluster
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, SUBSCRIPTION, LocalApp, deletion_event, make_app

LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"
THEIRS = naming.connection_id(CLUSTER, "shop", "theirs")
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/theirs/providers/"
    "Microsoft.ManagedIdentity/userAssignedIdentities/id-theirs"
)
TARGET = f"{STORAGE}/blobServices/default"
CLIENT_ID = "55555555-5555-4555-8555-555555555555"


@pytest.fixture
async def observed(app: LocalApp) -> LocalApp:
    app.world.identities[naming.fold_id(IDENTITY)] = Identity(
        resource_id=IDENTITY, client_id=CLIENT_ID.upper(), principal_id="p", location="x", tags={}
    )
    put_linker(app)
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{CLIENT_ID}")
    assert await observe(app) == "observed"
    return app


def put_linker(app: LocalApp, **changes: str) -> None:
    linker = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace="shop",
        target_id=TARGET,
        client_id=CLIENT_ID,
        client_type="python",
        provisioning_state="Succeeded",
    )
    app.world.linkers[naming.fold_id(LINKER)] = dataclasses.replace(linker, **changes)
    app.world.add_resource(LINKER)


async def observe(app: LocalApp) -> str:
    return await app.services.events.observer.observe(LINKER, tries=0)


async def place(app: LocalApp) -> Intent:
    return (await app.services.state.intents(THEIRS))["preflight"]


def cluster(app: LocalApp) -> StoredCluster:
    return app.world.clusters[naming.fold_id(CLUSTER)]


async def pruned_by(app: LocalApp, resource_id: str) -> str:
    app.queue.put("resource-events", deletion_event(resource_id))
    await app.settle(seconds=3600)
    return (await app.operations(THEIRS))[-1].code


# --- what is recorded ----------------------------------------------------------------------------


async def test_the_issuer_and_the_identity_are_recorded_while_the_linker_lives(observed: LocalApp):
    recorded = await place(observed)
    assert recorded.outputs == {
        "issuer": cluster(observed).described.issuer,
        "identityClientId": CLIENT_ID,
        "identityId": IDENTITY,
    }
    for resource_id in (LINKER, IDENTITY, STORAGE):
        [dependent] = [
            one
            for one in await observed.services.events.dependents.of(resource_id)
            if one.connection_id == THEIRS
        ]
        assert naming.fold_id(dependent.resource_id) == naming.fold_id(resource_id)


async def test_identities_are_listed_once_in_a_connections_life(observed: LocalApp):
    await observe(observed)
    await observe(observed)
    assert observed.journal.names().count("identities.list") == 1
    put_linker(observed, client_id="")
    await observe(observed)
    assert (await place(observed)).outputs["identityId"] == ""


async def test_a_rebuilt_cluster_is_recorded_when_its_linker_is_seen_alive_again(observed: LocalApp):
    described = cluster(observed).described
    cluster(observed).described = dataclasses.replace(described, issuer="https://issuer.example/new/")
    await observe(observed)
    assert (await place(observed)).outputs["issuer"] == "https://issuer.example/new/"
    cluster(observed).described = dataclasses.replace(described, issuer="")
    await observe(observed)
    assert (await place(observed)).outputs["issuer"] == "https://issuer.example/new/"


@pytest.mark.parametrize("reason", ["elsewhere", "absent", "refused"])
async def test_a_linker_whose_identity_cannot_be_found_is_recorded_all_the_same(app: LocalApp, reason: str):
    put_linker(app, identity_subscription_id="another" if reason == "elsewhere" else SUBSCRIPTION)
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{CLIENT_ID}")

    def rule(call: Call) -> BaseException | None:
        refused = call.name == "identities.list" and reason == "refused"
        return PermanentError("access-denied") if refused else None

    app.journal.before = rule
    for _ in range(IDENTITY_LOOKS - 1):
        assert await observe(app) == "observed"
        known = (await place(app)).outputs
        assert "identityId" not in known, "a list may be older than the identity"
        assert known["issuer"]
    await observe(app)
    await observe(app)
    known = (await place(app)).outputs
    assert known.get("identityId", "none") == ("none" if reason == "refused" else "")
    listed = app.journal.names().count("identities.list")
    assert listed == IDENTITY_LOOKS + (reason == "refused")


async def test_an_identity_of_another_watched_subscription_is_found(tmp_path: Path):
    other = "99999999-9999-4999-8999-999999999999"
    app = make_app(tmp_path, MOORING_SUBSCRIPTION_IDS=f"{SUBSCRIPTION},{other}")
    identity_id = IDENTITY.replace(SUBSCRIPTION, other)
    app.world.identities[naming.fold_id(identity_id)] = Identity(
        resource_id=identity_id, client_id=CLIENT_ID, principal_id="p", location="x", tags={}
    )
    put_linker(app)
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{CLIENT_ID}")
    assert await observe(app) == "observed"
    assert (await place(app)).outputs["identityId"] == identity_id


async def test_a_linker_with_another_identity_relies_on_the_one_before_no_more(observed: LocalApp):
    other = observed.world.guid()
    put_linker(observed, client_id=other)
    observed.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{other}")
    assert await observe(observed) == "observed"
    assert (await place(observed)).outputs["identityLooks"] == 1
    assert "identityId" not in (await place(observed)).outputs


# --- what becomes of it --------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [STORAGE, IDENTITY])
async def test_what_goes_under_a_living_linker_is_reported_and_never_pruned(observed: LocalApp, gone: str):
    observed.world.remove(gone)
    assert await pruned_by(observed, gone) == "linker-alive"
    assert await observed.state(THEIRS) == "observed"
    assert len(observed.leftovers()["objects"]) == 2


async def test_the_whole_group_of_target_and_linker_needs_no_grace_period(observed: LocalApp):
    elsewhere = "/subscriptions/" + SUBSCRIPTION + "/resourceGroups/other"
    observed.world.remove(STORAGE)
    observed.world.remove(LINKER)
    namesake = STORAGE.replace(STORAGE.partition("/providers/")[0], elsewhere)
    observed.world.add_resource(namesake)
    assert await pruned_by(observed, STORAGE) == ""
    assert await observed.state(THEIRS) == "pruned"
    assert observed.leftovers()["objects"] == []


async def test_their_linkers_end_prunes_what_it_left(observed: LocalApp):
    observed.world.remove(LINKER)
    assert await pruned_by(observed, LINKER) == ""
    assert await observed.state(THEIRS) == "pruned"
    assert observed.leftovers()["objects"] == []


@pytest.mark.parametrize("seen", ["before", "after"])
async def test_an_account_of_ours_that_a_linker_works_with_stays_once_somebody_took_our_mark_off(
    observed: LocalApp, seen: str
):
    """The linker's record knows its uid alone, whether it was made before the mark went or after."""
    account = cluster(observed).objects["ServiceAccount", "shop", f"sc-account-{CLIENT_ID}"]
    account.annotations[ANNOTATION_NONCE] = "n"
    if seen == "before":
        account.labels[LABEL_MANAGED_BY] = naming.MANAGED_BY
    assert await observe(observed) == "observed"
    account.labels.pop(LABEL_MANAGED_BY, None)
    observed.world.remove(LINKER)
    assert await pruned_by(observed, LINKER) == ""
    assert await observed.state(THEIRS) == "pruned"
    assert [kind for kind, *_ in cluster(observed).objects] == ["ServiceAccount"]
    prune = await observed.services.state.load((await observed.operations(THEIRS))[-1].operation_id)
    assert prune is not None
    [kept] = prune.steps["service_account"].value.outputs["kept"]
    assert (kept["rule"], kept["uid"]) == ("mark-removed", account.uid)


async def test_an_account_of_ours_that_bears_our_mark_goes_with_the_last_linker(observed: LocalApp):
    account = cluster(observed).objects["ServiceAccount", "shop", f"sc-account-{CLIENT_ID}"]
    account.annotations[ANNOTATION_NONCE] = "n"
    account.labels[LABEL_MANAGED_BY] = naming.MANAGED_BY
    observed.world.remove(LINKER)
    assert await pruned_by(observed, LINKER) == ""
    assert observed.leftovers()["objects"] == []


async def changed(app: LocalApp, **update: object) -> None:
    stored = await app.services.state.connection(THEIRS)
    assert stored is not None
    await app.services.state.observe(stored.value.model_copy(update=update), [], etag=stored.etag)


async def test_a_linker_that_is_made_again_during_its_prune_is_recorded_after_it(observed: LocalApp):
    """Else the end of the prune would forget a connection that lives."""
    await changed(observed, state=ConnectionState.PRUNING)
    assert await observe(observed) == "observe:later"
    assert await observed.state(THEIRS) == "pruning"


async def test_what_was_put_back_stays_known_when_its_linker_is_seen_again(observed: LocalApp):
    """Else a delete would leave it behind."""
    await changed(observed, state=ConnectionState.RESTORED, restored=True)
    assert await observe(observed) == "observed"
    stored = await observed.services.state.connection(THEIRS)
    assert stored is not None
    assert (stored.value.state, stored.value.restored) == ("observed", True)
