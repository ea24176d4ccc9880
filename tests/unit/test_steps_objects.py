"""Removing cluster objects: only what is proven ours, never what a pod uses, never what came anew."""

import pytest

from shared import naming
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Intent, Kind
from shared.ports import Linker
from shared.steps.base import ANNOTATION_KEEP, ANNOTATION_NONCE, account_thing
from shared.users import User
from tests.fakes.azure_world import StoredObject
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp
from tests.fakes.step_bench import Bench

KINDS = {"settings": "Secret", "service_account": "ServiceAccount"}
steps = pytest.mark.parametrize("step", sorted(KINDS))


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


def object_of(bench: Bench, step: str) -> StoredObject:
    objects = bench.app.world.clusters[naming.fold_id(CLUSTER)].objects
    [found] = [one for key, one in objects.items() if key[0] == KINDS[step]]
    return found


def shown(bench: Bench, step: str) -> str:
    return f"{KINDS[step]} shop/{bench.intents[step].planned['name']}"


def there(bench: Bench, step: str) -> bool:
    objects = bench.app.world.clusters[naming.fold_id(CLUSTER)].objects
    return any(key[0] == KINDS[step] for key in objects)


def use(bench: Bench, step: str, phase: str = "Running") -> None:
    name = bench.intents[step].planned["name"]
    spec = (
        {"serviceAccountName": name, "containers": []}
        if step == "service_account"
        else {"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": name}}]}]}
    )
    bench.app.clusters.put_pod(CLUSTER, "shop", "reader", spec, phase)


@steps
async def test_an_object_that_was_made_anew_by_others_is_kept(bench: Bench, step: str):
    object_of(bench, step).uid = "another"
    del object_of(bench, step).annotations[ANNOTATION_NONCE]
    bench.become(Kind.DELETE)
    assert [one["rule"] for one in (await bench.revert(step)).outputs["kept"]] == ["object-changed"]
    assert there(bench, step)


@steps
async def test_an_unrecorded_object_is_proven_by_the_nonce_that_was_planned(bench: Bench, step: str):
    bench.lose_record(step)
    bench.become(Kind.DELETE)
    [removed] = (await bench.revert(step)).outputs["removed"]
    assert (removed["rule"], there(bench, step)) == ("proven-by-nonce", False)


@steps
@pytest.mark.parametrize("provenance", ["created", "observed"])
async def test_an_unrecorded_object_with_another_nonce_is_kept(bench: Bench, step: str, provenance: str):
    bench.lose_record(step)
    known = bench.intents[step]
    planned = {**known.planned, "provenance": provenance}
    bench.intents[step] = known.model_copy(update={"planned": planned})
    if provenance == "created" or step == "service_account":
        # The row of an account's users knows the nonce of whichever of our connections made it.
        object_of(bench, step).annotations[ANNOTATION_NONCE] = "another"
    bench.become(Kind.DELETE)
    assert [one["rule"] for one in (await bench.revert(step)).outputs["kept"]] == ["not-proven-ours"]
    assert there(bench, step)


@steps
async def test_an_object_that_a_person_marked_is_kept_by_a_prune_and_removed_by_a_delete(
    bench: Bench, step: str
):
    object_of(bench, step).annotations[ANNOTATION_KEEP] = "true"
    bench.become(Kind.PRUNE)
    [kept] = (await bench.revert(step)).outputs["kept"]
    assert (kept["rule"], kept["name"]) == ("keep-annotation", bench.intents[step].planned["name"])
    assert there(bench, step)


@steps
async def test_a_delete_removes_even_what_is_marked(bench: Bench, step: str):
    object_of(bench, step).annotations[ANNOTATION_KEEP] = "true"
    bench.become(Kind.DELETE)
    await bench.revert(step)
    assert not there(bench, step)


@steps
async def test_a_prune_holds_what_a_pod_uses_and_removes_it_after(bench: Bench, step: str):
    use(bench, step)
    bench.become(Kind.PRUNE)
    for _ in range(2):
        with pytest.raises(NotYetError, match="used by Pod reader") as caught:
            await bench.revert(step)
        assert (caught.value.reason, caught.value.seconds) == ("in-use", 300)
    assert there(bench, step)
    bench.app.clusters.remove_pod(CLUSTER, "shop", "reader")
    assert (await bench.revert(step)).outputs["removed"]
    assert not there(bench, step)


@steps
async def test_a_finished_pod_or_another_objects_pod_holds_nothing(bench: Bench, step: str):
    use(bench, step, phase="Succeeded")
    bench.app.clusters.put_pod(CLUSTER, "shop", "other", {"serviceAccountName": "else", "containers": []})
    bench.become(Kind.PRUNE)
    await bench.revert(step)
    assert not there(bench, step)


@steps
async def test_a_delete_that_was_asked_for_does_not_wait_for_pods(bench: Bench, step: str):
    use(bench, step)
    bench.become(Kind.DELETE)
    await bench.revert(step)
    assert not there(bench, step)


@steps
async def test_a_report_waits_for_no_pod(bench: Bench, step: str):
    use(bench, step)
    bench.become(Kind.PRUNE, report_only=True)
    [would] = (await bench.revert(step)).outputs["would"]
    assert (would["act"], would["rule"], would["use"]["by"]) == ("hold", "in-use", "Pod reader")
    assert there(bench, step)


@steps
async def test_with_the_cluster_its_objects_are_gone(bench: Bench, step: str):
    bench.app.world.remove(CLUSTER)
    bench.become(Kind.DELETE)
    assert [one["found"] for one in (await bench.revert(step)).outputs["removed"]] == [False]


@steps
async def test_a_cluster_that_does_not_answer_is_not_a_cluster_that_is_gone(bench: Bench, step: str):
    bench.become(Kind.DELETE)
    bench.app.world.clusters[naming.fold_id(CLUSTER)].reachable = False
    with pytest.raises(TransientError, match="cluster-unreachable"):
        await bench.revert(step)

    def rule(call: Call) -> BaseException | None:
        return PermanentError("kube-forbidden") if call.name == "clusters.get" else None

    bench.app.world.clusters[naming.fold_id(CLUSTER)].reachable = True
    bench.app.journal.before = rule
    with pytest.raises(PermanentError, match="kube-forbidden"):
        await bench.revert(step)


@steps
async def test_an_object_that_changes_between_look_and_delete_is_looked_at_again(bench: Bench, step: str):
    bench.become(Kind.DELETE)

    def rule(call: Call) -> BaseException | None:
        if call.name == "clusters.delete":
            object_of(bench, step).resource_version = "moved"
        return None

    bench.app.journal.before = rule
    with pytest.raises(TransientError, match="precondition"):
        await bench.revert(step)
    bench.app.journal.before = None
    await bench.revert(step)
    assert not there(bench, step)


# --- Service Connector's objects -----------------------------------------------------------------


async def observed(app: LocalApp) -> tuple[Bench, str]:
    bench = Bench(app, "theirs")
    client_id = app.world.guid()
    names = {"settings": "sc-theirs-secret", "service_account": f"sc-account-{client_id}"}
    for step, name in names.items():
        thing = app.clusters.put_object(CLUSTER, KINDS[step], "shop", name)
        bench.intents[step] = Intent(
            connection_id=bench.connection.connection_id,
            step=step,
            generation=1,
            planned={"namespace": "shop", "name": name, "provenance": "observed"},
            outputs={"uid": thing.uid},
        )
    user = User(connection_id=bench.connection.connection_id, generation=1)

    async def ended(_: str) -> bool:
        return True

    await app.services.engine.users.join(account_thing(CLUSTER, "shop", client_id), user, settled=ended)
    return bench, client_id


def their_linker(app: LocalApp, client_id: str, namespace: str = "shop") -> None:
    linker_id = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/another"
    app.world.linkers[naming.fold_id(linker_id)] = Linker(
        resource_id=linker_id,
        name="another",
        namespace=namespace,
        target_id=STORAGE,
        client_id=client_id.upper(),
        client_type="none",
        provisioning_state="Succeeded",
    )


@steps
async def test_an_object_seen_alive_under_the_same_uid_is_pruned(app: LocalApp, step: str):
    bench, _ = await observed(app)
    bench.become(Kind.PRUNE, cause="linker")
    assert [one["rule"] for one in (await bench.revert(step)).outputs["removed"]] == ["proven-by-uid"]
    assert not there(bench, step)


async def test_an_account_that_another_live_linker_names_is_kept(app: LocalApp):
    bench, client_id = await observed(app)
    their_linker(app, client_id)
    bench.become(Kind.PRUNE, cause="linker")
    outputs = dict((await bench.revert("service_account")).outputs)
    assert [one["rule"] for one in outputs.pop("kept")] == ["live-linker"]
    assert outputs == {}
    assert there(bench, "service_account")


@pytest.mark.parametrize(("client", "namespace"), [("same", "other"), ("other", "shop")])
async def test_a_linker_of_another_namespace_or_identity_keeps_no_account(
    app: LocalApp, client: str, namespace: str
):
    bench, client_id = await observed(app)
    their_linker(app, client_id if client == "same" else app.world.guid(), namespace)
    bench.become(Kind.PRUNE, cause="linker")
    await bench.revert("service_account")
    assert not there(bench, "service_account")


async def test_an_account_that_another_observed_connection_uses_is_kept(app: LocalApp):
    bench, client_id = await observed(app)
    other = User(connection_id=naming.connection_id(CLUSTER, "shop", "other"), generation=1)

    async def ended(_: str) -> bool:
        return True

    await app.services.engine.users.join(account_thing(CLUSTER, "shop", client_id), other, settled=ended)
    bench.become(Kind.PRUNE, cause="linker")
    outputs = dict((await bench.revert("service_account")).outputs)
    assert [one["rule"] for one in outputs.pop("kept")] == ["still-shared"]
    assert outputs == {}
    assert there(bench, "service_account")
