"""Races for the names of shared things that the simulation found, each in its smallest form."""

import copy
import dataclasses

import pytest

from shared import naming
from shared.errors import TransientError
from shared.models import Kind, OperationId, Provenance
from shared.ports import Credential, KubeObject, Linker
from shared.steps.base import ANNOTATION_NONCE, account_thing, credential_thing, identity_thing
from shared.steps.objects import account_of
from shared.users import User
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, deletion_event
from tests.fakes.step_bench import Bench


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


def rebuilt(app: LocalApp, issuer: str) -> None:
    stored = app.world.clusters[naming.fold_id(CLUSTER)]
    stored.described = dataclasses.replace(stored.described, issuer=issuer)


async def account(app: LocalApp, name: str) -> KubeObject | None:
    return await app.clusters.get(CLUSTER, "ServiceAccount", "shop", name)


async def test_a_rebuilt_clusters_credential_has_a_name_of_its_own(app: LocalApp, bench: Bench):
    planned = bench.intents["federated_credential"].planned
    key, old = naming.fold_id(str(planned["identityId"])), str(planned["name"])
    rebuilt(app, "https://issuer.example/rebuilt/")
    newcomer = Bench(app, "orders-blob-2")
    await newcomer.up_to("federated_credential")
    new = str(newcomer.intents["federated_credential"].planned["name"])
    del app.world.credentials[key][old]  # a delete of the old one, whose answer was lost, lands only now
    assert new in app.world.credentials[key]


async def test_a_credential_of_the_former_name_is_ours_and_goes_with_its_last_user(
    app: LocalApp, bench: Bench
):
    planned = bench.intents["federated_credential"].planned
    key, name = naming.fold_id(str(planned["identityId"])), str(planned["name"])
    former = naming.former_credential_name(CLUSTER, "shop", str(planned["subject"]).rpartition(":")[-1])
    held = app.world.credentials[key]
    held[former] = dataclasses.replace(held.pop(name), name=former)
    made = await bench.apply("federated_credential")
    assert made.outputs == {"name": former, "provenance": Provenance.CREATED}
    assert list(held) == [former]
    bench.become(Kind.DELETE)
    reverted = await bench.revert("federated_credential")
    assert [(one["name"], one["found"]) for one in reverted.outputs["removed"]] == [(former, True)]
    assert not held


async def test_a_former_name_that_holds_another_issuers_credential_stays(app: LocalApp, bench: Bench):
    planned = bench.intents["federated_credential"].planned
    key, name = naming.fold_id(str(planned["identityId"])), str(planned["name"])
    former = naming.former_credential_name(CLUSTER, "shop", str(planned["subject"]).rpartition(":")[-1])
    other = Credential(
        name=former,
        issuer="https://issuer.example/rebuilt/",
        subject=str(planned["subject"]),
        audiences=(naming.AUDIENCE,),
    )
    app.world.credentials[key][former] = other
    del app.world.credentials[key][name]
    bench.become(Kind.DELETE)
    reverted = await bench.revert("federated_credential")
    assert [(one["name"], one["rule"]) for one in reverted.outputs["removed"]] == [(name, "already-gone")]
    assert app.world.credentials[key] == {former: other}
    thing = credential_thing(str(planned["identityId"]), str(planned["issuer"]), str(planned["subject"]))
    assert await app.services.engine.users.get(thing) is None


async def test_who_joins_an_account_that_is_there_leaves_the_nonce_on_record_that_is_on_it(
    app: LocalApp, bench: Bench
):
    """Its own nonce was planned before another connection made the account; then its run was cut off."""
    name = str(bench.intents["service_account"].planned["name"])
    thing = account_thing(CLUSTER, "shop", account_of(name))
    there = await account(app, name)
    newcomer = Bench(app, "orders-blob-2")
    newcomer.intents = {one: bench.intents[one] for one in ("preflight", "managed_identity")}
    own = {"namespace": "shop", "name": name, "provenance": Provenance.CREATED, "nonce": "own"}
    await newcomer.context("service_account").recorder.intend(own)
    await newcomer.apply("service_account")
    row = await app.services.engine.users.get(thing)
    assert row is not None
    assert there is not None
    assert row.details["nonce"] == there.annotations[ANNOTATION_NONCE]


async def test_an_observed_connection_that_leaves_last_takes_an_account_that_ours_made_again(
    app: LocalApp, bench: Bench
):
    """It knows the account's uid of before: that ours made it again, only the users row tells."""
    intent = bench.intents["service_account"]
    name = str(intent.planned["name"])
    bench.intents["service_account"] = intent.model_copy(
        update={
            "planned": {**intent.planned, "provenance": Provenance.ADOPTED, "nonce": ""},
            "outputs": {**intent.outputs, "uid": "of-before"},
        }
    )
    bench.become(Kind.PRUNE)
    reverted = await bench.revert("service_account")
    assert [one["rule"] for one in reverted.outputs["removed"]] == ["proven-by-nonce"]
    assert await account(app, name) is None


async def test_an_observed_connection_proves_nothing_by_a_nonce_that_no_row_of_ours_has(
    app: LocalApp, bench: Bench
):
    intent = bench.intents["service_account"]
    name, nonce = str(intent.planned["name"]), str(intent.planned["nonce"])
    thing = account_thing(CLUSTER, "shop", account_of(name))
    users = app.services.engine.users
    user = User(connection_id=bench.connection.connection_id, generation=1)
    await users.leave(thing, user, operation_id=OperationId("o"))
    await users.forget(thing, operation_id=OperationId("o"))
    await users.join(thing, user, settled=bench.context("service_account").recorder.settled)
    bench.intents["service_account"] = intent.model_copy(
        update={
            "planned": {**intent.planned, "provenance": Provenance.ADOPTED, "nonce": nonce},
            "outputs": {**intent.outputs, "uid": "of-before"},
        }
    )
    bench.become(Kind.PRUNE)
    reverted = await bench.revert("service_account")
    assert [one["rule"] for one in reverted.outputs["kept"]] == ["object-changed"]
    assert await account(app, name) is not None


def theirs(bench: Bench, *, name: str = "theirs", namespace: str = "other") -> Linker:
    """A living linker of the bench's identity and target."""
    return Linker(
        resource_id=f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/{name}",
        name=name,
        namespace=namespace,
        target_id=f"{STORAGE}/blobServices/default",
        client_id=str(bench.intents["managed_identity"].outputs["clientId"]),
        client_type="none",
        provisioning_state="Succeeded",
    )


@pytest.mark.parametrize("alive", [True, False])
async def test_what_came_back_late_stays_if_a_linker_works_through_it_by_now_and_goes_with_that_one(
    app: LocalApp, bench: Bench, *, alive: bool
):
    before = bench.world()
    bench.become(Kind.DELETE)
    for step in (
        "role_assignments",
        "federated_credential",
        "service_account",
        "settings",
        "managed_identity",
    ):
        await bench.revert(step)
    identities, credentials, assignments, _, objects = copy.deepcopy(before)
    app.world.identities.update(identities)
    app.world.credentials.update(credentials)
    app.world.assignments.update(assignments)
    for key, held in objects.items():
        app.world.clusters[key].objects.update(held)
    linker = theirs(bench, name="orders-blob", namespace="shop")
    if alive:
        app.world.linkers[naming.fold_id(linker.resource_id)] = linker
        await bench.apply("verify_gone")
        assert bench.world() == before
        await bench.apply("verify_gone")
        assert bench.world() == before
        app.world.linkers.clear()
        app.queue.put("resource-events", deletion_event(linker.resource_id))
        await app.settle(seconds=3600)
        assert (app.world.assignments, app.world.credentials) == ({}, {}), "it was left to that one"
    else:
        with pytest.raises(TransientError, match="came-back"):
            await bench.apply("verify_gone")
        assert bench.world() != before
    assert app.store.rows("users") == []


async def test_an_identity_stays_with_a_role_that_was_kept_for_a_linker_that_went_meanwhile(
    app: LocalApp, bench: Bench
):
    identity_id = str(bench.intents["managed_identity"].planned["resourceId"])
    linker = theirs(bench)
    app.world.linkers[naming.fold_id(linker.resource_id)] = linker
    bench.become(Kind.DELETE)
    await bench.revert("role_assignments")
    del app.world.linkers[naming.fold_id(linker.resource_id)]
    await bench.revert("federated_credential")
    kept = (await bench.revert("managed_identity")).outputs["kept"]
    assert [one["rule"] for one in kept] == ["live-linker"]
    assert naming.fold_id(identity_id) in app.world.identities


@pytest.mark.parametrize("step", ["role_assignments", "federated_credential"])
@pytest.mark.parametrize("taken", [True, False])
async def test_an_identity_goes_unless_what_was_left_to_a_linker_that_went_meanwhile_is_there_still(
    app: LocalApp, bench: Bench, step: str, *, taken: bool
):
    identity_id = str(bench.intents["managed_identity"].planned["resourceId"])
    linker = theirs(bench, namespace="shop")
    bench.become(Kind.DELETE)
    for each in ("role_assignments", "federated_credential"):
        alive = {naming.fold_id(linker.resource_id): linker} if each == step else {}
        app.world.linkers.clear()
        app.world.linkers.update(alive)
        outputs = (await bench.revert(each)).outputs
        assert [one["rule"] for one in outputs.get("kept", ())] == ["live-linker"] * len(alive)
    app.world.linkers.clear()
    if taken:
        app.queue.put("resource-events", deletion_event(linker.resource_id))
        await app.settle()
    else:
        await alone(bench, identity_thing(identity_id))
    await bench.revert("managed_identity")
    assert (naming.fold_id(identity_id) in app.world.identities) is not taken


async def alone(bench: Bench, thing: str) -> None:
    """Nobody but the bench's connection stands in a users row any more: rows can be lost."""
    users = bench.app.services.engine.users
    shared = await users.get(thing)
    assert shared is not None
    for user in shared.users:
        if user.connection_id != bench.connection.connection_id:
            await users.leave(thing, user, operation_id=OperationId("lost"))
