"""A named orphan is pruned only as it was reported, and only while nothing that lives computes it."""

import dataclasses

import pytest

from shared import naming
from shared.errors import NotYetError, PermanentError
from shared.models import ConnectionId, Done, Kind
from shared.ports import Linker
from shared.steps.base import account_thing, identity_thing
from shared.users import User
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body
from tests.fakes.step_bench import Bench

KINDS = {"settings": "Secret", "service_account": "ServiceAccount"}
objects = pytest.mark.parametrize("step", sorted(KINDS))
NAMED = ["settings", "service_account", "managed_identity", "federated_credential"]


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    """A connection whose row knows one thing, as a person's call records it; here all four at once."""
    made = Bench(app)
    await made.up_to("settings")
    made.become(Kind.PRUNE, cause="orphan", resource_id=f"{CLUSTER}/namespaces/shop")
    return made


def linker(app: LocalApp, name: str, *, client_id: str = "", namespace: str = "shop") -> None:
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


def only(bench: Bench, step: str) -> None:
    bench.intents = {step: bench.intents[step]}


async def confirmed(bench: Bench) -> Done:
    return await bench.apply("confirm_gone")


@pytest.mark.parametrize("step", NAMED)
async def test_what_is_as_it_was_reported_may_go(bench: Bench, step: str):
    only(bench, step)
    cluster = bench.app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, issuer="https://issuer.example/new/")
    assert (await confirmed(bench)).outputs["fact"] == "orphan"


@objects
async def test_an_object_of_the_same_name_with_another_uid_is_not_the_orphan(bench: Bench, step: str):
    only(bench, step)
    stored = bench.app.world.clusters[naming.fold_id(CLUSTER)].objects
    [key] = [one for one in stored if one[0] == KINDS[step]]
    stored[key].uid = "another"
    assert (await confirmed(bench)).ends_operation == "orphan-changed"
    del stored[key]
    assert (await confirmed(bench)).outputs["fact"] == "orphan", "gone already is no fault"


@objects
async def test_an_object_without_a_reported_uid_is_never_taken(bench: Bench, step: str):
    only(bench, step)
    bench.lose_record(step)
    assert (await confirmed(bench)).ends_operation == "orphan-changed"


async def test_an_identity_or_credential_that_is_another_by_now_is_not_the_orphan(bench: Bench):
    everything = dict(bench.intents)
    only(bench, "managed_identity")
    [(key, identity)] = bench.app.world.identities.items()
    bench.app.world.identities[key] = dataclasses.replace(identity, principal_id="another")
    assert (await confirmed(bench)).ends_operation == "orphan-changed"
    del bench.app.world.identities[key]
    assert (await confirmed(bench)).outputs["fact"] == "orphan"
    bench.intents = {"federated_credential": everything["federated_credential"]}
    [credentials] = bench.app.world.credentials.values()
    [(name, credential)] = credentials.items()
    credentials[name] = dataclasses.replace(credential, issuer="https://issuer.example/new/")
    assert (await confirmed(bench)).ends_operation == "orphan-changed"
    credentials.clear()
    assert (await confirmed(bench)).outputs["fact"] == "orphan"


@pytest.mark.parametrize("step", ["settings", "service_account", "managed_identity"])
async def test_what_a_living_linker_computes_is_no_orphan(bench: Bench, step: str):
    client_id = str(bench.intents["managed_identity"].outputs["clientId"])
    only(bench, step)
    linker(bench.app, "Orders_Blob" if step == "settings" else "theirs", client_id=client_id.upper())
    assert (await confirmed(bench)).ends_operation == "linker-alive"


@objects
async def test_a_linker_of_another_namespace_computes_another_object(bench: Bench, step: str):
    client_id = str(bench.intents["managed_identity"].outputs["clientId"])
    only(bench, step)
    linker(bench.app, "orders-blob", client_id=client_id, namespace="other")
    assert (await confirmed(bench)).outputs["fact"] == "orphan"


async def test_an_account_that_another_connection_uses_is_no_orphan(bench: Bench):
    client_id = str(bench.intents["managed_identity"].outputs["clientId"])
    only(bench, "service_account")

    async def ended(_: object) -> bool:
        return True

    other = User(connection_id=ConnectionId("other"), generation=1)
    users = bench.app.services.engine.users
    await users.join(account_thing(CLUSTER, "shop", client_id), other, settled=ended)
    assert (await confirmed(bench)).ends_operation == "still-used"


async def test_an_orphan_of_a_cluster_that_is_gone_went_with_it_and_other_faults_are_told(bench: Bench):
    only(bench, "settings")

    def rule(call: Call) -> BaseException | None:
        return PermanentError("kubernetes-access-denied") if call.name == "clusters.get" else None

    bench.app.journal.before = rule
    with pytest.raises(PermanentError, match="kubernetes-access-denied"):
        await confirmed(bench)
    bench.app.journal.before = None
    bench.app.world.remove(CLUSTER)
    assert (await confirmed(bench)).outputs["fact"] == "orphan"


async def test_an_identity_without_a_known_cluster_is_asked_about_no_linker(bench: Bench):
    only(bench, "managed_identity")
    spec = bench.connection.spec.model_copy(update={"cluster_id": ""})
    bench.connection = bench.connection.model_copy(update={"spec": spec})
    before = len(bench.app.journal.calls)
    assert (await confirmed(bench)).outputs["fact"] == "orphan"
    assert "linkers.list" not in bench.app.journal.names()[before:]


async def test_a_credential_whose_cluster_is_there_after_all_is_kept(bench: Bench):
    only(bench, "federated_credential")
    assert (await confirmed(bench)).ends_operation == "issuer-alive"
    cluster = bench.app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, issuer="")
    assert (await confirmed(bench)).ends_operation == "issuer-alive", "it may have the one that was reported"
    cluster.described = dataclasses.replace(cluster.described, issuer="https://issuer.example/new/")
    assert (await confirmed(bench)).outputs["fact"] == "orphan"


async def test_a_secret_that_a_connection_made_since_writes_is_no_orphan(bench: Bench):
    only(bench, "settings")
    await bench.app.send(create_body("orders-blob"), message_id="again")
    assert (await confirmed(bench)).ends_operation == "still-used"
    kept = (await bench.revert("settings")).outputs["kept"]
    assert [one["rule"] for one in kept] == ["still-shared"], "also after it was held for long"


@pytest.mark.parametrize("report", [False, True])
async def test_what_is_not_pruned_after_all_is_left_by_its_prune(bench: Bench, *, report: bool):
    """Else the thing would have a user for ever: never reported, and never removed with its last one."""
    only(bench, "managed_identity")
    identity_id = str(bench.intents["managed_identity"].outputs["resourceId"])
    bench.operation = bench.operation.model_copy(update={"report_only": report})
    if not report:
        identity = bench.app.world.identities[naming.fold_id(identity_id)]
        changed = dataclasses.replace(identity, principal_id="another")
        bench.app.world.identities[naming.fold_id(identity_id)] = changed
    users = bench.app.services.engine.users
    assert await users.get(identity_thing(identity_id)) is not None
    await confirmed(bench)
    assert await users.get(identity_thing(identity_id)) is None


async def test_what_a_sweep_names_is_counted_by_the_cap(bench: Bench):
    only(bench, "managed_identity")
    bench.rules = dataclasses.replace(bench.rules, prune_cap_per_hour=0)
    assert (await confirmed(bench)).outputs["fact"] == "orphan", "a person's call is one thing"
    assert bench.operation.cause is not None
    by_sweep = bench.operation.cause.model_copy(update={"source": "sweep"})
    bench.operation = bench.operation.model_copy(update={"cause": by_sweep})
    with pytest.raises(NotYetError, match="cap"):
        await confirmed(bench)
