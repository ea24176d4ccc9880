"""A provider that is not registered, and a locked group of identities: found before anything is made."""

import pytest

from shared.errors import PermanentError
from shared.models import ConnectionId, Kind
from shared.naming import connection_id, fold_id
from shared.ports import Lock
from tests.fakes.local_app import CLUSTER, IDENTITY_GROUP, STORAGE, SUBSCRIPTION, LocalApp, create_body
from tests.fakes.looks import bad, looked
from tests.fakes.step_bench import Bench

ID = ConnectionId(connection_id(CLUSTER, "shop", "orders-blob"))
REGISTER = "az provider register --namespace {} --subscription " + SUBSCRIPTION


def unregister(app: LocalApp, namespace: str) -> None:
    app.world.unregistered.add(fold_id(f"/subscriptions/{SUBSCRIPTION}/providers/{namespace}"))


@pytest.mark.parametrize("namespace", ["Microsoft.Storage", "Microsoft.ManagedIdentity"])
async def test_a_plan_finds_a_provider_that_is_not_registered(app: LocalApp, namespace: str):
    unregister(app, namespace)
    _, findings = await looked(app)
    assert bad(findings) == {"providers-registered": "failed"}
    assert findings["providers-registered"].remedy == f"{REGISTER.format(namespace)} --wait"


async def test_who_may_not_read_registrations_does_not_know(app: LocalApp):
    denied = PermanentError("access-denied", "providers/read", remedy="grant it")
    provider = fold_id(f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Storage")
    app.services.engine.outside.resources._port.broken[provider] = denied  # type: ignore[attr-defined]
    _, findings = await looked(app)
    assert bad(findings) == {"providers-registered": "unknown"}
    assert findings["providers-registered"].remedy == "grant it"


async def test_a_create_without_the_provider_of_identities_makes_nothing_and_has_the_command(app: LocalApp):
    unregister(app, "Microsoft.ManagedIdentity")
    before = app.leftovers()["objects"]
    await app.send(create_body())
    await app.settle()
    [operation] = await app.operations(ID)
    assert (operation.state.value, operation.code) == ("failed", "provider-not-registered")
    assert operation.remedy.startswith(REGISTER.format("Microsoft.ManagedIdentity"))
    assert (app.world.identities, app.world.assignments) == ({}, {})
    assert app.leftovers()["objects"] == before
    app.world.unregistered.clear()
    await app.send(create_body(), message_id="again")
    await app.settle()
    assert await app.state(ID) == "configured"


async def test_another_refusal_of_an_identity_keeps_its_own_code(app: LocalApp):
    app.world.groups.discard(fold_id(IDENTITY_GROUP))
    await app.send(create_body())
    await app.settle()
    assert [one.code for one in await app.operations(ID)] == ["resource-group-missing"]


async def test_a_target_that_is_not_there_has_the_commands_that_tell_why(app: LocalApp):
    app.world.remove(STORAGE)
    await app.send(create_body())
    await app.settle()
    [operation] = await app.operations(ID)
    assert operation.code == "target-not-found"
    assert f"az resource show --ids {STORAGE}" in operation.remedy
    assert REGISTER.format("Microsoft.Storage") in operation.remedy


async def test_a_plan_says_what_the_target_lacks_and_what_a_create_waits_for(app: LocalApp):
    body = app.world.resources[fold_id(STORAGE)]
    body["properties"] |= {"provisioningState": "Updating", "publicNetworkAccess": "Disabled"}
    _, findings = await looked(app)
    assert bad(findings) == {"target-provisioned": "warning", "network": "failed"}
    assert findings["target-provisioned"].remedy == "a create waits for it"
    vault = app.world.resources[fold_id(STORAGE).replace("storage/storageaccounts", "keyvault/vaults")]
    vault["properties"]["enableRbacAuthorization"] = False
    target = {"type": "keyvault", "id": vault["id"]}
    _, findings = await looked(app, target=target, clientType="none")
    assert bad(findings) == {"target-takes-roles": "failed"}
    assert "--enable-rbac-authorization true" in findings["target-takes-roles"].remedy


def lock(app: LocalApp, level: str) -> None:
    resource_id = f"{IDENTITY_GROUP}/providers/Microsoft.Authorization/locks/keep"
    app.world.locks.append(Lock(resource_id=resource_id, scope=IDENTITY_GROUP, name="keep", level=level))


async def test_a_locked_group_of_identities_is_refused_before_anything_is_made(app: LocalApp):
    lock(app, "ReadOnly")
    bench = Bench(app)
    before = bench.world()
    with pytest.raises(PermanentError, match=r"scope-locked: .*identities and credentials") as caught:
        await bench.apply("preflight")
    assert "az lock delete --ids" in caught.value.remedy
    assert bench.world() == before


@pytest.mark.parametrize("level", ["ReadOnly", "CanNotDelete"])
async def test_a_lock_on_an_identity_that_is_there_is_only_said(app: LocalApp, level: str):
    bench = Bench(app)
    await bench.up_to("settings")
    lock(app, level)
    found = await bench.check("preflight")
    assert (found["identity-unlocked"].result, found["target-unlocked"].result) == ("warning", "ok")
    bench.become(Kind.REPAIR)
    [said] = (await bench.apply("preflight")).outputs["warnings"]
    assert said["name"] == "identity-unlocked"


async def test_locks_of_another_subscription_are_not_read_for_the_identity(app: LocalApp):
    elsewhere = STORAGE.replace(SUBSCRIPTION, SUBSCRIPTION.replace("1", "9"))
    body = app.world.resources[fold_id(STORAGE)]
    app.world.add_resource(elsewhere, {"properties": body["properties"]})
    bench = Bench(app, target_id=elsewhere)
    await bench.up_to("managed_identity")
    assert "identity-unlocked" not in await bench.check("preflight")
