"""What becomes of events about one thing, and of what stands beside it, below it or shares with it.

==  ===============================  ==  ===============================  ==  ==========================
 7  a linker below its cluster        8  other things below a cluster      9  names that begin alike
12  failed and cancelled deletions   13  an authorization that misleads   22  sources of others
27  a shared account                 30  objects that changed hands
==  ===============================  ==  ===============================  ==  ==========================
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.ports import Linker
from tests.fakes.aftermath import connection, made, mark, outside_calls, prunes, tell, writes
from tests.fakes.azure_events import WRITTEN, event
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, SUBSCRIPTION, VAULT, LocalApp, make_app

KEY = naming.fold_id(CLUSTER)
SECRET = ("Secret", "shop", "sc-ordersblob-secret")
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"


@pytest.fixture
def hasty(tmp_path: Path) -> LocalApp:
    """An app without a grace period."""
    return make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")


# 7
async def test_the_deletion_of_a_linker_below_a_cluster_takes_that_connection_only(app: LocalApp):
    ours = await made(app)
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace="shop",
        target_id=STORAGE,
        client_id="",
        client_type="none",
        provisioning_state="Succeeded",
    )
    app.world.add_resource(LINKER)
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    await tell(app, event(LINKER, WRITTEN))
    await app.settle()
    assert await app.state(connection("theirs")) == "observed"
    app.world.remove(LINKER)
    before = set(app.world.clusters[KEY].objects)
    await tell(app, event(LINKER, event_id="gone"))
    await app.settle(seconds=3600)
    assert (await app.state(connection("theirs")), await app.state(ours)) == ("pruned", "configured")
    assert before - set(app.world.clusters[KEY].objects) == {("Secret", "shop", "sc-theirs-secret")}
    assert await prunes(app, ours) == []


# 8
@pytest.mark.parametrize(
    "below",
    [
        "/agentPools/nodepool1",
        "/maintenanceConfigurations/default",
        "/providers/Microsoft.ContainerService/scheduledEvents/s",
        "/providers/Microsoft.KubernetesConfiguration/extensions/sc-extension",
        "/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-8000-000000000000",
    ],
)
async def test_the_deletion_of_something_else_below_a_cluster_is_not_even_looked_up(
    app: LocalApp, below: str
):
    connection_id = await made(app)
    since = mark(app)
    assert await app.services.events.receive(json.dumps(event(CLUSTER + below))) == ["ignored"]
    assert app.journal.calls[since:] == []
    assert await prunes(app, connection_id) == []


# 9
async def test_a_group_takes_nothing_of_a_group_whose_name_begins_like_its_own(hasty: LocalApp):
    ids = {}
    for group in ("rg-a", "rg-ab"):
        account = (
            f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}"
            f"/providers/Microsoft.Storage/storageAccounts/{group}"
        )
        # An account's name is given once in all of Azure: under the same name it would be the same, moved.
        blob = {"properties": {"primaryEndpoints": {"blob": f"https://{group}.blob.core.windows.net/"}}}
        hasty.world.add_resource(account, blob)
        target = {"type": "storage-blob", "id": account}
        ids[group] = await made(hasty, group, target=target, workload=group)
    hasty.world.remove(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-a")
    await tell(hasty, event(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-a"))
    await hasty.settle(seconds=3600)
    assert [await hasty.state(ids[group]) for group in ids] == ["pruned", "configured"]
    assert await prunes(hasty, ids["rg-ab"]) == []


# 12, 22
OTHER = "99999999-9999-4999-8999-999999999999"


@pytest.mark.parametrize(
    "body",
    [
        event(STORAGE, "Microsoft.Resources.ResourceDeleteFailure"),
        event(STORAGE, "Microsoft.Resources.ResourceDeleteCancel"),
        event(STORAGE, resourceUri=VAULT),
        event(STORAGE) | {"topic": f"/subscriptions/{OTHER}"},
        event(STORAGE, tenantId=OTHER),
        json.loads(json.dumps(event(STORAGE)).replace(SUBSCRIPTION, OTHER)),
    ],
)
async def test_what_is_no_deletion_or_not_believed_reaches_neither_azure_nor_a_cluster_though_it_is_gone(
    app: LocalApp, body: Any
):
    connection_id = await made(app)
    app.world.remove(STORAGE)
    before, since = app.leftovers(), mark(app)
    await tell(app, body)
    await app.settle()
    assert outside_calls(app, since) == {}
    assert (await prunes(app, connection_id), app.leftovers()) == ([], before)


# 13
async def test_only_the_subject_is_pruned_whatever_operation_and_authorization_name(hasty: LocalApp):
    blob = await made(hasty)
    vault = await made(hasty, "secrets", target={"type": "keyvault", "id": VAULT}, workload="other")
    hasty.world.remove(STORAGE)
    hasty.world.remove(VAULT)
    body = event(STORAGE, operationName="Microsoft.KeyVault/vaults/write", authorization={"scope": VAULT})
    await tell(hasty, body)
    await hasty.settle(seconds=3600)
    assert (await hasty.state(blob), await hasty.state(vault)) == ("pruned", "configured")


# 27
async def test_of_two_connections_that_share_an_account_the_shared_stays_and_the_dead_ones_mark_goes(
    hasty: LocalApp,
):
    blob = await made(hasty)
    vault = await made(hasty, "secrets", target={"type": "keyvault", "id": VAULT})
    shared = {key for key in hasty.world.clusters[KEY].objects if key[0] == "ServiceAccount"}
    assert len(shared) == 1, "they are of one workload"
    hasty.world.remove(STORAGE)
    await tell(hasty, event(STORAGE))
    await hasty.settle(seconds=3600)
    assert (await hasty.state(blob), await hasty.state(vault)) == ("pruned", "configured")
    assert set(hasty.world.clusters[KEY].objects) == shared | {("Secret", "shop", "sc-secrets-secret")}
    assert len(hasty.world.identities) == 1
    assert {one.name for one in hasty.world.credentials.popitem()[1].values()}
    users = [json.loads(text)["users"] for text in hasty.leftovers()["users"]]
    assert users
    assert blob not in json.dumps(users)
    assert all(vault in json.dumps(one) for one in users)


# 30
async def confirmed(app: LocalApp, change: Any) -> str:
    """Prune a connection whose secret changes between the confirmation and the delete."""
    connection_id = await made(app)
    app.world.remove(STORAGE)

    def meddle(call: Call) -> None:
        if call.name == "clusters.list_uses":
            change(app.world.clusters[KEY].objects)

    app.journal.after = meddle
    await tell(app, event(STORAGE))
    await app.settle(seconds=3600)
    return connection_id


async def test_an_object_of_the_same_name_that_another_tool_made_meanwhile_is_kept_and_told(hasty: LocalApp):
    def replaced(objects: dict[tuple[str, str, str], Any]) -> None:
        if SECRET in objects and objects[SECRET].labels.get("made-by") != "another":
            del objects[SECRET]
            hasty.clusters.put_object(CLUSTER, *SECRET, labels={"made-by": "another"})

    connection_id = await confirmed(hasty, replaced)
    assert hasty.world.clusters[KEY].objects[SECRET].labels == {"made-by": "another"}
    [prune] = await prunes(hasty, connection_id)
    snapshot = await hasty.services.state.load(prune.operation_id)
    assert snapshot is not None
    [kept] = snapshot.steps["settings"].value.outputs["kept"]
    assert (kept["name"], kept["rule"]) == ("sc-ordersblob-secret", "object-changed")
    assert (prune.state, hasty.leftovers()["identities"]) == ("succeeded", [])


async def test_an_object_that_somebody_took_our_mark_off_is_kept_and_told(hasty: LocalApp):
    def unmarked(objects: dict[tuple[str, str, str], Any]) -> None:
        if SECRET in objects:
            objects[SECRET].labels.pop("app.kubernetes.io/managed-by", None)

    connection_id = await confirmed(hasty, unmarked)
    assert SECRET in hasty.world.clusters[KEY].objects
    [prune] = await prunes(hasty, connection_id)
    snapshot = await hasty.services.state.load(prune.operation_id)
    assert snapshot is not None
    [kept] = snapshot.steps["settings"].value.outputs["kept"]
    assert (kept["name"], kept["rule"]) == ("sc-ordersblob-secret", "mark-removed")


async def test_an_object_that_changes_between_look_and_delete_is_refused_by_its_precondition_and_read_again(
    hasty: LocalApp,
):
    edits = [True]

    def edit(call: Call) -> None:
        if call.name == "clusters.delete" and call.arguments[1] == "Secret" and edits:
            edits.clear()
            hasty.world.clusters[KEY].objects[SECRET].resource_version = "edited"

    hasty.journal.before = edit
    connection_id = await made(hasty)
    hasty.world.remove(STORAGE)
    since = mark(hasty)
    await tell(hasty, event(STORAGE))
    await hasty.settle(seconds=3600)
    assert await hasty.state(connection_id) == "pruned"
    assert writes(hasty, since)["clusters.delete"] == 3, "refused once, then deleted; and the account"


async def test_in_a_namespace_that_is_being_terminated_a_prune_still_ends(hasty: LocalApp):
    connection_id = await made(hasty)
    hasty.world.remove(STORAGE)
    hasty.world.clusters[KEY].terminating.add("shop")
    await tell(hasty, event(STORAGE))
    await hasty.settle(seconds=3600)
    assert await hasty.state(connection_id) == "pruned"
    assert hasty.leftovers()["objects"] == []
