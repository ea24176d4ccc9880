"""What becomes of events about things that are back, were never gone, or are others of the same name.

==  ===============================  ==  ===============================  ==  ==========================
 2  a write before its delete         3  made again within seconds         4  a vault that was recovered
 5  an account restored on day 13    21  an invented subject              28  an identity of the same name
==  ===============================  ==  ===============================  ==  ==========================
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from shared import naming, views
from shared.ports import Identity
from tests.fakes.aftermath import connection, identity_of, made, mark, outside_calls, prunes, tell, writes
from tests.fakes.azure_events import WRITTEN, cloud, event, notification
from tests.fakes.local_app import CLUSTER, STORAGE, SUBSCRIPTION, VAULT, LocalApp, create_body, make_app

KEY = naming.fold_id(CLUSTER)
DATA = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-data"
ACCOUNT = f"{DATA}/providers/Microsoft.Storage/storageAccounts/precious"
BLOB = {"properties": {"primaryEndpoints": {"blob": "https://precious.blob.core.windows.net/"}}}


async def days(app: LocalApp, count: int) -> None:
    """Let days pass; the timer ticks for some minutes of each."""
    for _ in range(count):
        app.clock.advance(86_100)
        await app.settle(seconds=300)


# 2
@pytest.mark.parametrize("wrote", [event(STORAGE, WRITTEN), notification(STORAGE, "CreatedOrUpdated")])
async def test_a_deletion_that_arrives_after_the_write_which_followed_it_prunes_nothing(
    app: LocalApp, wrote: dict[str, object]
):
    connection_id = await made(app)
    before, since = app.leftovers(), mark(app)
    await tell(app, wrote, event(STORAGE))
    await app.settle()
    [ended] = await prunes(app, connection_id)
    assert (ended.code, await app.state(connection_id)) == ("resource-alive", "configured")
    assert (app.leftovers(), writes(app, since)) == (before, {})


async def test_a_write_ends_the_wait_of_a_prune_because_the_prune_looks_again_by_itself(app: LocalApp):
    connection_id = await made(app)
    body = app.world.resources[naming.fold_id(STORAGE)]
    app.world.remove(STORAGE)
    await tell(app, event(STORAGE))
    await app.settle(seconds=30)
    assert (await prunes(app, connection_id))[0].waiting == "confirm"
    app.world.add_resource(STORAGE, body)
    since = mark(app)
    await tell(app, event(STORAGE, WRITTEN))
    await app.settle()
    [ended] = await prunes(app, connection_id)
    assert (ended.code, await app.state(connection_id)) == ("resource-alive", "configured")
    assert writes(app, since) == {}


# 3
async def test_what_was_made_again_before_its_deletion_is_told_stays(app: LocalApp):
    connection_id = await made(app)
    body = app.world.resources[naming.fold_id(STORAGE)]
    app.world.remove(STORAGE)
    app.clock.advance(20)
    app.world.add_resource(STORAGE, body)
    app.clock.advance(3600)
    before = [app.leftovers()[kind] for kind in ("identities", "objects", "users")]
    await tell(app, event(STORAGE))
    await app.settle()
    assert (await prunes(app, connection_id))[0].code == "resource-alive"
    assert [app.leftovers()[kind] for kind in ("identities", "objects", "users")] == before


async def test_of_a_cluster_that_was_made_again_only_the_old_ones_credentials_go(app: LocalApp):
    connection_id = await made(app)
    identity_id = await identity_of(app, connection_id)
    old = app.world.clusters[KEY].described
    app.world.remove(CLUSTER)
    app.world.add_cluster(CLUSTER, issuer="https://issuer.example/rebuilt/", namespaces=("shop",))
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-ordersblob-secret")
    assert app.world.clusters[KEY].described.issuer != old.issuer
    app.clock.advance(3600)
    since = mark(app)
    await tell(app, event(CLUSTER))
    await app.settle(seconds=3600)
    assert await app.state(connection_id) == "orphaned"
    assert app.world.credentials[naming.fold_id(identity_id)] == {}
    assert naming.fold_id(identity_id) in app.world.identities
    assert ("Secret", "shop", "sc-ordersblob-secret") in app.world.clusters[KEY].objects
    assert writes(app, since) == {"identities.delete_credential": 1}


# 4
async def test_a_vault_that_is_recovered_within_its_grace_loses_nothing_but_its_roles_which_a_check_says(
    app: LocalApp,
):
    target = {"type": "keyvault", "id": VAULT}
    connection_id = await made(app, "secrets", target=target)
    body = app.world.resources[naming.fold_id(VAULT)]
    app.world.remove(VAULT)
    await tell(app, event(VAULT))
    await days(app, 5)
    [held] = await prunes(app, connection_id)
    assert (held.state, held.waiting) == ("held", "grace")
    app.world.add_resource(VAULT, body)
    since = mark(app)
    await app.settle(seconds=7200)
    [ended] = await prunes(app, connection_id)
    assert (ended.code, await app.state(connection_id)) == ("resource-alive", "configured")
    assert writes(app, since) == {}
    assert len(app.leftovers()["identities"]) == 1
    assert len(app.leftovers()["objects"]) == 2
    # Azure removed the assignments with the vault and does not bring them back.
    await app.send({"action": "validate", "connectionId": connection_id}, message_id="check")
    await app.settle()
    check = await app.services.state.load((await app.operations(connection_id))[-1].operation_id)
    assert check is not None
    findings = views.operation(check)["findings"]
    assert {one["name"] for one in findings if one["result"] == "failed"} == {"role-assigned"}


# 5
async def test_an_account_that_is_restored_on_day_thirteen_in_a_new_group_keeps_its_connection(app: LocalApp):
    app.world.add_resource(ACCOUNT, BLOB)
    connection_id = await made(app, target={"type": "storage-blob", "id": ACCOUNT})
    app.world.remove(DATA)
    await tell(app, event(ACCOUNT), event(DATA, event_id="group"))
    await days(app, 13)
    assert await app.state(connection_id) == "configured"
    app.world.add_group(DATA)
    app.world.add_resource(ACCOUNT, BLOB)
    since = mark(app)
    await days(app, 2)
    assert {one.code for one in await prunes(app, connection_id)} == {"resource-alive"}
    assert (await app.state(connection_id), writes(app, since)) == ("configured", {})


# 21
@pytest.mark.parametrize("make", [event, cloud, notification])
async def test_an_invented_deletion_of_what_a_living_connection_relies_on_changes_nothing(
    app: LocalApp, make: object
):
    connection_id = await made(app)
    identity_id = await identity_of(app, connection_id)
    [name] = app.world.credentials[naming.fold_id(identity_id)]
    subjects = [STORAGE, CLUSTER, identity_id, f"{identity_id}/federatedIdentityCredentials/{name}"]
    groups = [naming.resource_group_of(one) for one in (STORAGE, identity_id)]
    before, since = app.leftovers(), mark(app)
    for number, one in enumerate([*subjects, *groups]):
        await tell(app, make(one, event_id=f"forged-{number}"))  # type: ignore[operator]
        await app.settle()
    assert {one.code for one in await prunes(app, connection_id)} == {"resource-alive"}
    assert (await app.state(connection_id), app.leftovers(), writes(app, since)) == ("configured", before, {})
    asked = outside_calls(app, since)
    assert set(asked) <= {
        "resources.get",
        "clusters.describe",
        "identities.get",
        "identities.list_credentials",
    }


# 28
def remake(app: LocalApp, identity_id: str) -> Identity:
    """Somebody deletes an identity and makes one of the same name."""
    key = naming.fold_id(identity_id)
    old = app.world.identities[key]
    app.world.remove(identity_id)
    new = dataclasses.replace(old, client_id=app.world.guid(), principal_id=app.world.guid(), tags={})
    app.world.identities[key], app.world.credentials[key] = new, {}
    return new


async def test_of_an_identity_that_was_made_anew_the_old_ones_things_go_and_the_new_one_stays(app: LocalApp):
    connection_id = await made(app)
    identity_id = await identity_of(app, connection_id)
    new = remake(app, identity_id)
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{new.client_id}")
    await tell(app, event(identity_id))
    await app.settle(seconds=3600)
    assert await app.state(connection_id) == "pruned"
    assert app.world.identities[naming.fold_id(identity_id)] == new
    left = app.leftovers()
    assert left["objects"] == [f"ServiceAccount shop/sc-account-{new.client_id}"]
    assert (left["assignments"], left["users"]) == ([], [])


async def test_a_deletion_of_the_old_identity_that_is_told_late_leaves_the_connection_of_the_new_one(
    tmp_path: Path,
):
    app = make_app(tmp_path)
    connection_id = await made(app)
    identity_id = await identity_of(app, connection_id)
    app.world.remove(identity_id)
    await tell(app, event(identity_id))
    await app.settle(seconds=3600)
    assert await app.state(connection_id) == "pruned"
    await app.send({**create_body(), "requestId": "again"}, message_id="again")
    await app.settle()
    assert await app.state(connection()) == "configured"
    before = app.leftovers()
    await tell(app, event(identity_id, event_id="late"))
    await app.settle(seconds=3600)
    assert (await app.state(connection()), app.leftovers()) == ("configured", before)
