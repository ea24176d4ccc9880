"""A resource goes in Azure; what only served it goes too, and nothing else does."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from azure.mgmt.containerservice.aio import ContainerServiceClient
from azure.mgmt.msi.aio import ManagedServiceIdentityClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient

from tests.e2e.cluster import Cluster
from tests.e2e.together import story
from tests.e2e.world import Json, World, eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

IDENTITY_VERSION = "2024-11-30"
DELETED = "Microsoft.Resources.ResourceDeleteSuccess"


async def connected(world: World, name: str, *, target_id: str = "", **more: Any) -> tuple[str, Json]:
    """A connection in a namespace of its own; returns the namespace and the connection."""
    namespace = await world.cluster.new_namespace(f"story-{name}")
    if target_id:
        more["target"] = {"type": "storage-blob", "id": target_id}
    return namespace, await world.create(world.spec(name, namespace=namespace, **more))


async def deletion_of(world: World, resource_id: str) -> Json:
    """The event that Azure published for a deletion."""

    async def look() -> Json | None:
        for event in await world.control("GET", "events"):
            if event["eventType"] == DELETED and event["subject"].lower() == resource_id.lower():
                return dict(event)
        return None

    return await eventually(look)


def deletion_event(world: World, resource_id: str) -> Json:
    """An event in Event Grid's shape (learn.microsoft.com/azure/event-grid/event-schema-subscriptions)."""
    subscription = world.contract.subscription_id
    return {
        "id": str(uuid.uuid4()),
        "topic": f"/subscriptions/{subscription}",
        "subject": resource_id,
        "eventType": DELETED,
        "eventTime": "2026-01-01T00:00:00Z",
        "dataVersion": "2",
        "metadataVersion": "1",
        "data": {"resourceUri": resource_id, "subscriptionId": subscription, "status": "Succeeded"},
    }


async def assert_nothing_left(world: World, namespace: str, connection: Json) -> None:
    assert await world.cluster.names(namespace) == ([], [])
    assert await world.identity(connection["identity"]["resourceId"]) is None


@story
async def test_a_deleted_target_is_held_for_its_grace_and_then_pruned(world: World):
    account_id = await world.new_account()
    namespace, connection = await connected(world, "grace", target_id=account_id)
    await world.delete_account(account_id)
    held = await world.held(connection["id"], "grace")
    assert (held["kind"], held["cause"]["kind"]) == ("prune", "target")
    assert (await world.cluster.names(namespace))[0] == ["sc-grace-secret"]

    # The same event again and again, with its own id and with new ones, changes nothing.
    event = await deletion_of(world, account_id)
    copies = [event, event, event, {**event, "id": str(uuid.uuid4())}, {**event, "id": str(uuid.uuid4())}]
    await world.control("POST", "events", copies)
    await asyncio.sleep(1)
    still_open = (await world.api("GET", "operations")).body["operations"]
    mine = [one["id"] for one in still_open if one["connectionId"] == connection["id"]]
    assert mine == [held["id"]]
    await world.connection_in(connection["id"], "pruned")
    assert (await world.api("GET", f"operations/{held['id']}")).body["state"] == "succeeded"
    await assert_nothing_left(world, namespace, connection)
    identity_id = connection["identity"]["resourceId"]
    deletes = await world.calls("arm", "DELETE", identity_id)
    own = [one for one in deletes if one["path"].lower() == identity_id.lower()]
    assert [one["caller"] for one in own] == [world.contract.app_principal_id]


@story
async def test_a_target_that_came_back_within_its_grace_keeps_its_connection(world: World):
    account_id = await world.new_account()
    namespace, connection = await connected(world, "back", target_id=account_id)
    await world.delete_account(account_id)
    await world.held(connection["id"], "grace")
    parts = account_id.split("/")
    from azure.mgmt.storage.aio import StorageManagementClient

    parameters = {"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
    async with world.azure(StorageManagementClient) as client:
        await (await client.storage_accounts.begin_create(parts[4], parts[-1], parameters)).result()
    kept = await world.connection_in(connection["id"], "configured")
    ended = (await world.api("GET", kept["lastOperation"])).body
    assert (ended["kind"], ended["state"], ended["code"]) == ("prune", "succeeded", "resource-alive")
    assert (await world.cluster.names(namespace))[0] == ["sc-back-secret"]


@story
async def test_a_deleted_container_takes_the_connection_that_is_limited_to_it(world: World):
    account_id = await world.new_account()
    parts = account_id.split("/")
    namespace = await world.cluster.new_namespace("story-part")
    container_id = f"{account_id}/blobServices/default/containers/orders"
    target = {"type": "storage-blob", "id": container_id}
    spec = world.spec("part", namespace=namespace, target=target, intent="read")
    ended = await world.request("create", spec)
    assert (ended["state"], ended["code"]) == ("failed", "target-not-found")
    from azure.mgmt.storage.aio import StorageManagementClient

    async with world.azure(StorageManagementClient) as client:
        await client.blob_containers.create(parts[4], parts[-1], "orders", {})
        connection = await world.create(spec)
        await client.blob_containers.delete(parts[4], parts[-1], "orders")
    held = await world.held(connection["id"], "grace")
    assert held["cause"]["resourceId"].lower() == container_id.lower()
    await world.connection_in(connection["id"], "pruned")
    await assert_nothing_left(world, namespace, connection)
    assert await world.assignments(container_id, connection["identity"]["principalId"]) == []


@story
async def test_a_deleted_identity_takes_its_connection_with_it(world: World):
    namespace, connection = await connected(world, "no-identity")
    identity = connection["identity"]
    await world.delete_resource(identity["resourceId"], IDENTITY_VERSION)
    await world.connection_in(connection["id"], "pruned")
    await assert_nothing_left(world, namespace, connection)
    scope = world.contract.storage_account_id
    assert await world.assignments(scope, identity["principalId"]) == []


@story
async def test_a_deleted_credential_takes_the_cluster_objects_and_leaves_an_orphan(world: World):
    namespace, connection = await connected(world, "no-credential")
    identity_id = connection["identity"]["resourceId"]
    (credential,) = await world.credentials(identity_id)
    parts = identity_id.split("/")
    async with world.azure(ManagedServiceIdentityClient) as client:
        await client.federated_identity_credentials.delete(parts[4], parts[-1], credential.name)
    await world.connection_in(connection["id"], "orphaned")
    assert await world.cluster.names(namespace) == ([], [])
    assert await world.identity(identity_id) is not None

    # The same request makes the rest anew, with the client id that the owner already knows.
    spec = world.spec("no-credential", namespace=namespace)
    again = await world.create(spec)
    assert again["identity"]["clientId"] == connection["identity"]["clientId"]
    ran = await world.cluster.run_blob_program(again)
    assert ran.exit_code == 0, ran.output
    await world.delete(spec)
    await assert_nothing_left(world, namespace, connection)


@story
async def test_a_deleted_resource_group_takes_the_connections_to_its_accounts_with_it(world: World):
    async with world.azure(ResourceManagementClient) as client:
        await client.resource_groups.create_or_update("rg-passing", {"location": "westeurope"})
    account_id = await world.new_account("rg-passing")
    namespace, connection = await connected(world, "no-group", target_id=account_id)
    async with world.azure(ResourceManagementClient) as client:
        await (await client.resource_groups.begin_delete("rg-passing")).result()
    await world.connection_in(connection["id"], "pruned")
    await assert_nothing_left(world, namespace, connection)


@story
async def test_a_deleted_cluster_leaves_an_orphan_whose_identity_waits_for_a_rebuild(world: World):
    contract, name = world.contract, "aks-passing"
    parameters = {
        "location": "westeurope",
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "dnsPrefix": name,
            "aadProfile": {"managed": True},
            "oidcIssuerProfile": {"enabled": True},
            "securityProfile": {"workloadIdentity": {"enabled": True}},
        },
    }
    async with world.azure(ContainerServiceClient) as client:
        clusters = client.managed_clusters
        made = await (
            await clusters.begin_create_or_update(contract.resource_group, name, parameters)
        ).result()
        server = f"{contract.kubernetes_url}/clusters/{name}"
        async with Cluster.opened(contract, server) as cluster:
            await cluster.grant_app()
            await cluster.new_namespace("shop")
            spec = world.spec("passing", clusterId=made.id, namespace="shop")
            connection = await world.create(spec)
            assert (await cluster.names("shop"))[0] == ["sc-passing-secret"]
        await (await clusters.begin_delete(contract.resource_group, name)).result()

    await world.connection_in(connection["id"], "orphaned")
    identity_id, principal_id = connection["identity"]["resourceId"], connection["identity"]["principalId"]
    assert await world.identity(identity_id) is not None
    assert await world.credentials(identity_id) == []
    assert len(await world.assignments(contract.storage_account_id, principal_id)) == 1

    await world.delete(spec)
    assert (await world.connection(connection["id"]))["state"] == "deleted"
    assert await world.identity(identity_id) is None
    assert await world.assignments(contract.storage_account_id, principal_id) == []


@story
async def test_an_event_about_a_living_resource_prunes_nothing(world: World):
    namespace, connection = await connected(world, "alive")
    (credential,) = await world.credentials(connection["identity"]["resourceId"])
    living = [
        connection["identity"]["resourceId"],
        f"{connection['identity']['resourceId']}/federatedIdentityCredentials/{credential.name}",
        f"{connection['identity']['resourceId']}/federatedIdentityCredentials/never-there",
    ]
    answer = await world.control("POST", "events", [deletion_event(world, one) for one in living])
    assert all(answer["matched"]), answer

    async def look() -> Json | None:
        found = await world.connection(connection["id"])
        return found if found["lastOperation"] != connection["lastOperation"] else None

    last = (await world.api("GET", (await eventually(look))["lastOperation"])).body
    assert (last["kind"], last["state"], last["code"]) == ("prune", "succeeded", "resource-alive")
    await world.connection_in(connection["id"], "configured")
    assert (await world.cluster.names(namespace))[0] == ["sc-alive-secret"]
    ran = await world.cluster.run_blob_program(connection)
    assert ran.exit_code == 0, ran.output


@story
async def test_the_event_grid_trigger_leads_to_the_same_prune(world: World):
    namespace, connection = await connected(world, "unheard")
    identity_id = connection["identity"]["resourceId"]
    subscriptions = await world.control("GET", "event-subscriptions")
    for subscription in subscriptions:
        rules = subscription["filter"].setdefault("advancedFilters", [])
        rules.append({"operatorType": "StringNotContains", "key": "subject", "values": ["story-unheard"]})
    await world.control("PUT", "event-subscriptions", subscriptions)
    await world.delete_resource(identity_id, IDENTITY_VERSION)
    await asyncio.sleep(2)
    assert (await world.connection(connection["id"]))["operations"] == []

    key = world.contract.function_keys["eventgrid_extension"]
    hook = f"{world.contract.event_grid_webhook_url}?functionName=resource_events_webhook"
    url = f"{hook}&code={key}"
    greeting = [{"id": "1", "data": {"validationCode": "abc"}, "eventType": "Microsoft.EventGrid.X"}]
    shaken = await world.api(
        "POST", url, greeting, headers={"aeg-event-type": "SubscriptionValidation"}, key=None
    )
    assert (shaken.status, shaken.body) == (200, {"validationResponse": "abc"})
    event = deletion_event(world, identity_id)
    notification = {"aeg-event-type": "Notification"}
    assert (await world.api("POST", hook, [event], headers=notification, key=None)).status == 401
    taken = await world.api("POST", url, [event], headers=notification, key=None)
    assert taken.status == 202, taken.body
    await world.connection_in(connection["id"], "pruned")
    await assert_nothing_left(world, namespace, connection)


@story
async def test_an_event_that_could_not_be_delivered_is_replayed_and_prunes(world: World):
    namespace, connection = await connected(world, "undelivered")
    identity_id = connection["identity"]["resourceId"]
    await world.control("PUT", "event-faults", [{"subject": "story-undelivered", "problem": "unreachable"}])
    await world.delete_resource(identity_id, IDENTITY_VERSION)
    event = await deletion_of(world, identity_id)

    async def look() -> Json | None:
        deliveries = await world.control("GET", "event-deliveries")
        return next((one for one in deliveries if one["id"] == event["id"]), None)

    given_up = await eventually(look)
    assert (given_up["delivered"], given_up["attempts"], bool(given_up["deadLetter"])) == (False, 4, True)
    assert (await world.connection(connection["id"]))["operations"] == []

    await world.control("PUT", "event-faults", [])
    replayed = await world.api("POST", "dead-letters/replay")
    assert replayed.status == 200, replayed.body
    assert replayed.body["replayed"] >= 1
    assert (replayed.body["rejected"], replayed.body["left"]) == (0, 0)
    await world.connection_in(connection["id"], "pruned")
    await assert_nothing_left(world, namespace, connection)
    again = await world.api("POST", "dead-letters/replay")
    assert again.body == {"read": 0, "replayed": 0, "rejected": 0, "left": 0}
