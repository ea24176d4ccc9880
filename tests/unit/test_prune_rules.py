"""What keeps a prune, which nobody asked for, from doing harm: doubts, returns, other users, other causes."""

import dataclasses
import json
from pathlib import Path

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.models import Kind, StepMessage
from shared.ports import Linker
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)
from tests.fakes.step_bench import Bench

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
KEY = naming.fold_id(CLUSTER)


async def created(app: LocalApp) -> str:
    record = await app.send(create_body(), message_id="made")
    await app.settle()
    assert await app.state(ID) == "configured"
    return str(record.operation_id)


def linker(app: LocalApp, name: str, *, client_id: str = "", namespace: str = "shop") -> str:
    linker_id = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/{name}"
    app.world.linkers[naming.fold_id(linker_id)] = Linker(
        resource_id=linker_id,
        name=name,
        namespace=namespace,
        target_id=STORAGE,
        client_id=client_id,
        client_type="none",
        provisioning_state="Succeeded",
    )
    app.world.add_resource(linker_id)
    return linker_id


# --- is it still a fact --------------------------------------------------------------------------


async def test_a_resource_that_returns_in_the_middle_of_a_prune_stops_it(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("settings")
    bench.rules = dataclasses.replace(bench.rules, prune_confirm_seconds=0, prune_grace_seconds=0)
    resource = app.world.resources[naming.fold_id(STORAGE)]
    app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    await bench.apply("confirm_gone")
    app.clock.advance(29)
    await bench.revert("role_assignments")
    app.world.add_resource(STORAGE, resource)
    await bench.revert("federated_credential")  # the confirmation is younger than half a minute
    app.clock.advance(1)
    for step in ("settings", "service_account", "managed_identity"):
        with pytest.raises(PermanentError, match="resource-returned") as caught:
            await bench.revert(step)
        assert caught.value.remedy
    assert app.leftovers()["objects"]
    assert app.leftovers()["identities"]


async def test_a_confirmation_that_is_asked_for_again_and_holds_goes_on(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("settings")
    bench.rules = dataclasses.replace(bench.rules, prune_confirm_seconds=0, prune_grace_seconds=0)
    app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    await bench.apply("confirm_gone")
    app.clock.advance(3600)
    assert (await bench.revert("settings")).outputs["removed"]


@pytest.mark.parametrize("issuer", ["same", "another", "none"])
async def test_a_cluster_of_the_same_id_is_gone_only_if_its_issuer_is_another(app: LocalApp, issuer: str):
    await created(app)
    cluster = app.world.clusters[KEY]
    present = {"same": cluster.described.issuer, "another": "https://issuer.example/new/", "none": ""}[issuer]
    cluster.described = dataclasses.replace(cluster.described, issuer=present)
    app.queue.put("resource-events", deletion_event(CLUSTER))
    await app.settle(seconds=3600)
    prune = (await app.operations(ID))[-1]
    if issuer == "another":
        assert await app.state(ID) == "orphaned"
        assert not any(app.world.credentials.values())
    else:
        assert (prune.code, await app.state(ID)) == ("resource-alive", "configured")


async def test_a_credential_of_another_name_with_the_same_trust_is_as_good_as_there(app: LocalApp):
    await created(app)
    [(identity_id, present)] = app.world.credentials.items()
    [credential] = present.values()
    app.world.credentials[identity_id] = {"theirs": dataclasses.replace(credential, name="theirs")}
    app.queue.put(
        "resource-events", deletion_event(f"{identity_id}/federatedIdentityCredentials/{credential.name}")
    )
    await app.settle(seconds=3600)
    assert ((await app.operations(ID))[-1].code, await app.state(ID)) == ("resource-alive", "configured")


async def test_a_hint_that_could_not_be_checked_breaks_nothing(app: LocalApp):
    await created(app)
    app.world.remove(STORAGE)

    def rule(call: Call) -> BaseException | None:
        return PermanentError("forbidden") if call.name == "resources.get" else None

    app.journal.before = rule
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle()
    assert ((await app.operations(ID))[-1].code, await app.state(ID)) == ("forbidden", "configured")


async def test_an_observed_connection_whose_prune_failed_is_watched_on(app: LocalApp):
    linker_id = linker(app, "theirs")
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    assert await app.services.events.observer.observe(linker_id, tries=0) == "observed"
    app.world.remove(linker_id)

    def rule(call: Call) -> BaseException | None:
        return PermanentError("kube-forbidden") if call.name == "clusters.delete" else None

    app.journal.before = rule
    app.queue.put("resource-events", deletion_event(linker_id))
    await app.settle()
    theirs = naming.connection_id(CLUSTER, "shop", "theirs")
    assert ((await app.operations(theirs))[-1].code, await app.state(theirs)) == (
        "kube-forbidden",
        "observed",
    )


# --- several causes, several lives ---------------------------------------------------------------


async def test_another_cause_goes_before_a_prune_that_only_waits(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="900")
    await created(app)
    [identity_id] = app.world.identities
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=300)
    held = (await app.operations(ID))[-1]
    assert (held.state, held.waiting) == ("held", "grace")
    again = deletion_event(STORAGE, "e-2")
    app.queue.put("resource-events", again)
    await app.settle(seconds=60)
    assert len(await app.operations(ID)) == 2, "the same cause attaches"
    app.world.remove(identity_id)
    app.queue.put("resource-events", deletion_event(identity_id, "e-3"))
    await app.settle(seconds=400)
    assert await app.state(ID) == "pruned", "the grace of the target did not hold up the identity's prune"
    await app.settle(seconds=3600)
    by_cause = {one.cause.kind: one for one in await app.operations(ID) if one.cause}
    assert {kind: one.state.value for kind, one in by_cause.items()} == {
        "target": "succeeded",
        "identity": "succeeded",
    }
    assert by_cause["target"].code in {"nothing-to-do", "stale-cause"}
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_a_create_of_what_failed_does_not_wait_for_a_mere_hint(app: LocalApp):
    app.world.clusters[KEY].namespaces.discard("shop")
    await app.send(create_body())
    await app.settle()
    assert await app.state(ID) == "failed"
    app.world.clusters[KEY].namespaces.add("shop")
    await app.services.events.receive(deletion_event(STORAGE))
    record = await app.send(create_body(), message_id="again")
    by_id = {one.operation_id: one for one in await app.operations(ID)}
    [prune] = [one for one in by_id.values() if one.kind is Kind.PRUNE]
    assert (record.outcome, by_id[record.operation_id].behind) == ("opened", "")
    await app.settle()
    assert await app.state(ID) == "configured"
    ended = {one.operation_id: one for one in await app.operations(ID)}[prune.operation_id]
    assert ended.code == "resource-alive"


async def test_a_prune_that_waited_through_a_whole_life_has_nothing_to_do_with_the_next(app: LocalApp):
    await app.send(create_body())
    await app.services.engine.run_one(_message(app))
    await app.services.events.receive(deletion_event(STORAGE))
    stored = await app.services.state.connection(ID)
    assert stored is not None
    # The row of a connection that was deleted and made again, as another version may have left it.
    reborn = stored.value.model_copy(update={"generation": stored.value.generation + 1})
    await app.services.state.observe(reborn, [], etag=stored.etag)
    await app.settle()
    ended = {one.kind: one for one in await app.operations(ID)}[Kind.PRUNE]
    assert (ended.state, ended.code) == ("succeeded", "stale-cause")
    assert ended.generation != reborn.generation


def _message(app: LocalApp) -> StepMessage:
    [text] = app.queue.take("connection-steps")
    return StepMessage.model_validate_json(text)


async def test_a_delete_after_a_prune_that_only_waits_leaves_nothing(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="90000")
    await created(app)
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=300)
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600)
    assert await app.state(ID) == "deleted"
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


# --- what Service Connector still uses -----------------------------------------------------------


async def test_what_a_live_linker_works_through_stays(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("settings")
    client_id = bench.intents["managed_identity"].outputs["clientId"]
    linker(app, "theirs", client_id=client_id.upper())
    linker(app, "Orders_Blob")
    world = bench.world()
    bench.become(Kind.DELETE)
    for step in ("federated_credential", "settings", "service_account", "managed_identity"):
        outputs = (await bench.revert(step)).outputs
        assert "a live linker" in str(outputs["kept"]), step
        assert "removed" not in outputs
    assert bench.world() == world
    rows = [json.loads(str(row.columns["body"])) for row in app.store.rows("users")]
    ours = [row for row in rows if bench.connection.connection_id in str(row["users"])]
    assert all(row["thing"].startswith("role|") for row in ours)


async def test_a_prune_in_a_cluster_that_is_gone_holds_nothing_and_other_faults_are_not_hidden(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("settings")

    def rule(call: Call) -> BaseException | None:
        return PermanentError("kube-forbidden") if call.name == "clusters.list_uses" else None

    bench.become(Kind.PRUNE)
    app.journal.before = rule
    with pytest.raises(PermanentError, match="kube-forbidden"):
        await bench.revert("settings")
    app.journal.before = None
    app.world.remove(CLUSTER)
    assert [one["found"] for one in (await bench.revert("settings")).outputs["removed"]] == [False]
