"""What may be adopted: nothing that the policy does not list, and nothing that is not what it seems."""

import dataclasses
from typing import Any

import pytest

from shared import naming
from shared.models import Cause, Kind
from shared.opening import Asked
from shared.ports import Upsert
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import (
    APP_CLIENT_ID,
    CLUSTER,
    GROUP,
    STORAGE,
    SUBSCRIPTION,
    LocalApp,
    create_body,
)
from tests.fakes.their_linker import (
    IDENTITY,
    LINKER,
    POLICY,
    SECRET,
    THEIRS,
    TheirLinker,
    make_linker,
)
from tests.unit.test_adopt_records import adopt_body, adopted
from tests.unit.test_opening import opened

OTHER = "99999999-9999-4999-8999-999999999999"
DATABASE = f"{GROUP}/providers/Microsoft.DBforPostgreSQL/flexibleServers/pg/databases/orders"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
"""The role Owner: in no row of the catalogue."""


@pytest.fixture
def theirs(app: LocalApp) -> TheirLinker:
    return make_linker(app)


async def refused(app: LocalApp, body: dict[str, Any] | None = None) -> Any:
    record = await app.send(body or adopt_body())
    assert record.outcome == "rejected"
    assert app.store.rows("connections") == []
    assert app.store.rows("users") == app.store.rows("dependents") == []
    return record


@pytest.mark.parametrize(
    "linker_id",
    [
        CLUSTER,
        f"{LINKER}/dryruns/x",
        STORAGE + "/providers/Microsoft.ServiceLinker/linkers/x",
        LINKER.replace(SUBSCRIPTION, "mine"),
        f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/",
        f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/a%2f",
        "x",
        7,
    ],
)
async def test_only_a_managed_clusters_linker_can_be_named(app: LocalApp, linker_id: Any):
    record = await refused(app, adopt_body(linker_id))
    assert (record.code, record.field) == ("wrong-type" if linker_id == 7 else "invalid-id", "linkerId")
    assert not any(name.startswith("linkers.") for name in app.journal.names())


async def test_a_linker_must_be_named(app: LocalApp):
    assert (await refused(app, {"action": "adopt"})).code == "missing-property"
    body = {"action": "adopt", "connectionId": "0" * 24}
    assert (await refused(app, body)).code == "unknown-property"


async def test_a_cluster_of_another_subscription_is_not_asked(app: LocalApp):
    record = await refused(app, adopt_body(LINKER.replace(SUBSCRIPTION, OTHER)))
    assert (record.code, record.field) == ("subscription-not-listed", "linkerId")
    assert not any(name.startswith("linkers.") for name in app.journal.names())


async def test_a_target_of_another_subscription_is_refused(app: LocalApp, theirs: TheirLinker):
    theirs.change(target_id=STORAGE.replace(SUBSCRIPTION, OTHER))
    assert (await refused(app)).code == "subscription-not-listed"
    theirs.change(target_id="")
    assert (await refused(app)).code == "subscription-not-listed"


async def test_a_linker_that_is_not_there_is_not_found(app: LocalApp):
    record = await refused(app)
    assert (record.code, record.remedy) == (
        "linker-not-found",
        f"az aks connection list --source-id {CLUSTER}",
    )
    status, body, _ = await HttpApp(app).call("adopt_linker", body={"linkerId": LINKER})
    assert (status, body["code"]) == (404, "linker-not-found")


@pytest.mark.parametrize("state", ["Accepted", "Failed", ""])
async def test_a_linker_that_is_not_made_yet_is_not_adopted(app: LocalApp, theirs: TheirLinker, state: str):
    theirs.change(provisioning_state=state)
    assert (await refused(app)).code == "linker-not-ready"
    theirs.change(provisioning_state="Succeeded")
    assert (await app.send(adopt_body())).outcome == "opened", "a refusal can be sent again"


NOT_LISTED = {
    "cluster": (CLUSTER, CLUSTER.replace("aks1", "aks2"), "clusters"),
    "namespace": ('"shop"', '"other"', "namespace"),
    "target type": ('"storage-blob"', '"keyvault"', "target_types"),
    "identity": (IDENTITY, IDENTITY + "-2", "identities"),
}


@pytest.mark.parametrize("what", sorted(NOT_LISTED))
async def test_what_the_policy_does_not_list_is_refused_with_the_rule_that_would_allow_it(
    app: LocalApp, theirs: TheirLinker, what: str
):
    old, new, _ = NOT_LISTED[what]
    app.policy_file.write_text(POLICY.replace(old, new))
    record = await refused(app)
    assert (record.code, record.field) == ("policy-denied", "linkerId")
    assert f"lists the {what}" in record.detail
    if what != "identity":
        assert not any(name.startswith(("clusters.", "identities.")) for name in app.journal.names())
    app.policy_file.write_text("version = 1\n" + record.remedy.partition("\n")[2])
    record = await app.send(adopt_body())
    if what != "identity":
        # What is not listed is not looked at: only then is it known which identity and roles it is about.
        assert (record.outcome, record.code) == ("rejected", "policy-denied")
        assert "lists the identity" in record.detail
        app.policy_file.write_text("version = 1\n" + record.remedy.partition("\n")[2])
        record = await app.send(adopt_body())
    assert record.outcome == "opened"


async def test_a_protected_namespace_is_refused(app: LocalApp, theirs: TheirLinker):
    app.policy_file.write_text(POLICY + '[protected]\nnamespaces = ["sh*"]\n')
    assert (await refused(app)).code == "namespace-protected"


async def test_a_policy_that_cannot_be_read_adopts_nothing(app: LocalApp, theirs: TheirLinker):
    app.policy_file.write_text("nonsense")
    assert (await refused(app)).code == "policy-unreadable"


async def test_a_role_that_the_catalogue_never_gives_must_be_listed_by_name(
    app: LocalApp, theirs: TheirLinker
):
    """A rule without roles allows what the catalogue gives, and no more: not what somebody else granted."""
    theirs.grant(STORAGE, "66666666-6666-4666-8666-666666666666", role=OWNER)
    record = await refused(app)
    assert (record.code, OWNER in record.detail) == ("policy-denied", True)
    app.policy_file.write_text("version = 1\n" + record.remedy.partition("\n")[2])
    assert (await app.send(adopt_body())).outcome == "opened"


async def test_a_target_that_the_catalogue_knows_and_does_not_offer_can_be_adopted(
    app: LocalApp, theirs: TheirLinker
):
    theirs.change(target_id=DATABASE)
    record = await refused(app)
    assert "target type postgres-flexible" in record.detail
    app.policy_file.write_text(POLICY.replace('"storage-blob"', '"postgres-flexible"'))
    assert (await app.send(adopt_body())).outcome == "opened"


@pytest.mark.parametrize("whose", ["app", "kubelet", "kubelet by id"])
async def test_an_identity_that_is_no_workloads_is_refused(app: LocalApp, theirs: TheirLinker, whose: str):
    if whose == "app":
        key = naming.fold_id(IDENTITY)
        app.world.identities[key] = dataclasses.replace(app.world.identities[key], client_id=APP_CLIENT_ID)
        app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{APP_CLIENT_ID}")
        theirs.change(client_id=APP_CLIENT_ID)
    else:
        cluster = app.world.clusters[naming.fold_id(CLUSTER)]
        forbidden = theirs.identity.client_id if whose == "kubelet" else naming.fold_id(IDENTITY)
        cluster.described = dataclasses.replace(cluster.described, forbidden_identities=(forbidden,))
    assert (await refused(app)).code == "identity-forbidden"


async def test_an_identity_that_no_listed_subscription_has_is_not_found(app: LocalApp, theirs: TheirLinker):
    app.world.identities.clear()
    record = await refused(app)
    assert record.code == "identity-not-found"
    assert "MOORING_SUBSCRIPTION_IDS" in record.remedy


@pytest.mark.parametrize("kind", ["Secret", "ServiceAccount"])
async def test_a_linker_whose_objects_are_not_in_the_cluster_is_not_adopted(
    app: LocalApp, theirs: TheirLinker, kind: str
):
    name = SECRET if kind == "Secret" else theirs.account
    del app.world.clusters[naming.fold_id(CLUSTER)].objects[kind, "shop", name]
    record = await refused(app)
    assert (record.code, record.remedy) == ("linker-incomplete", f"az aks connection update --id {LINKER}")


async def test_a_cluster_that_is_gone_has_nothing_to_adopt(app: LocalApp, theirs: TheirLinker):
    del app.world.clusters[naming.fold_id(CLUSTER)]
    assert (await refused(app)).code == "cluster-not-found"


async def test_the_secret_of_a_connection_of_ours_is_not_adopted(app: LocalApp):
    await app.send(create_body("theirblob"), message_id="ours")
    await app.settle()
    make_linker(app)
    record = await app.send(adopt_body())
    assert (record.outcome, record.code) == ("rejected", "name-collision")
    assert await app.state(THEIRS) == "configured"


async def test_a_thing_that_is_on_its_way_out_is_waited_for(app: LocalApp, theirs: TheirLinker):
    await adopted(app)
    [row] = [row for row in app.store.rows("users") if '"account|' in str(row.columns["body"])]
    body = str(row.columns["body"]).replace('"closing":""', f'"closing":"{THEIRS}-0123456789ab"')
    columns = {**row.columns, "body": body.replace(THEIRS + '","generation', "0" * 24 + '","generation')}
    await app.store.transact("users", row.partition, [Upsert(key=row.key, columns=columns)])
    status, found, _ = await HttpApp(app).call("adopt_linker", body={"linkerId": LINKER})
    assert (status, found["code"]) == (503, "closing")
    app.clock.advance(400)
    status, found, _ = await HttpApp(app).call("adopt_linker", body={"linkerId": LINKER})
    assert (status, found["outcome"]) == (200, "unchanged"), "whoever wanted it away is long gone"


async def test_an_adopted_connection_is_validated_and_neither_deleted_repaired_nor_made_anew(
    app: LocalApp, theirs: TheirLinker
):
    await adopted(app)
    for action, remedy in (("delete", "delete"), ("repair", "update")):
        record = await app.send({"action": action, "connectionId": THEIRS}, message_id=action)
        assert (record.outcome, record.code) == ("rejected", "adopted-connection")
        assert record.remedy == f"az aks connection {remedy} --id {LINKER}"
    record = await app.send({"action": "validate", "connectionId": THEIRS}, message_id="validate")
    assert record.outcome == "opened"
    record = await app.send(create_body("their_blob"), message_id="create")
    assert record.code in {"linker-holds-name", "policy-denied"}
    status, body, _ = await HttpApp(app).call("delete_connection", connectionId=THEIRS)
    assert (status, body["code"]) == (409, "adopted-connection")


@pytest.mark.parametrize("kind", ["target", "identity", "credential"])
async def test_a_loss_that_the_linker_survives_is_reported_and_not_pruned(
    app: LocalApp, theirs: TheirLinker, kind: str
):
    await adopted(app)
    wish = Asked(
        kind=Kind.PRUNE,
        connection_id=THEIRS,
        key="hint",
        cause=Cause(kind=kind, resource_id=IDENTITY if kind == "identity" else STORAGE),
        generation=1,
    )
    answer = await opened(app, wish)
    assert answer.outcome == "opened"
    await app.settle()
    ended = [(one.kind, one.code) for one in await app.operations(THEIRS) if one.kind is Kind.PRUNE]
    assert ended == [(Kind.PRUNE, "resource-alive")]
    assert await app.state(THEIRS) == "adopted"
