"""Each finding of a validation can fail, alone, and says which command mends it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import cluster_commands, naming
from tests.fakes.azure_world import StoredCluster, StoredObject
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, STORAGE, SUBSCRIPTION, VAULT, LocalApp, create_body, make_app
from tests.fakes.looks import described
from tests.fakes.sweeps import connected

CLIENT_ID = "azure.workload.identity/client-id"
ENDPOINT = "AZURE_STORAGEBLOB_RESOURCEENDPOINT"
READER = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/reader"
PRIVATE = {"properties": {"privateLinkServiceConnectionState": {"status": "Approved"}}}
PENDING = {"properties": {"privateLinkServiceConnectionState": {"status": "Pending"}}}

REPAIR = "POST /api/connections/{id}/repair"
DELETE = "DELETE /api/connections/{id}"


def cluster(app: LocalApp) -> StoredCluster:
    return app.world.clusters[naming.fold_id(CLUSTER)]


def thing(app: LocalApp, kind: str) -> StoredObject:
    [found] = [one for key, one in cluster(app).objects.items() if key[0] == kind]
    return found


def drop(app: LocalApp, kind: str) -> None:
    objects = cluster(app).objects
    [key] = [key for key in objects if key[0] == kind]
    del objects[key]


def anew(app: LocalApp, kind: str) -> None:
    """Somebody deleted the object and made an equal one."""
    thing(app, kind).uid = "another"


def credential(app: LocalApp, **changes: Any) -> None:
    for held in app.world.credentials.values():
        for name, one in held.items():
            held[name] = dataclasses.replace(one, **changes)


def assignment(app: LocalApp, **changes: Any) -> None:
    for key, one in app.world.assignments.items():
        app.world.assignments[key] = dataclasses.replace(one, **changes)


def target(app: LocalApp, **changes: Any) -> None:
    body = app.world.resources[naming.fold_id(STORAGE)]
    body["properties"] = {**body["properties"], **changes}


def forget_credentials(app: LocalApp) -> None:
    for held in app.world.credentials.values():
        held.clear()


def unreadable(app: LocalApp) -> None:
    """The role is there, and the data plane refuses all the same."""
    for url in app.world.data_planes:
        app.world.data_planes[url] = VAULT


Break = Callable[[LocalApp], Any]
FINDINGS: dict[str, tuple[Break, str]] = {
    "target-exists": (lambda app: app.world.resources.pop(naming.fold_id(STORAGE)), DELETE),
    "target-provisioned": (
        lambda app: target(app, provisioningState="Updating"),
        f"az resource wait --ids {STORAGE}",
    ),
    "network": (lambda app: target(app, publicNetworkAccess="Disabled"), "az network private-endpoint"),
    "cluster-running": (
        lambda app: described(app, power_state="Stopped"),
        cluster_commands.start(CLUSTER),
    ),
    "cluster-takes-entra": (lambda app: described(app, entra=False), cluster_commands.enable_entra(CLUSTER)),
    "workload-identity-on": (
        lambda app: described(app, workload_identity=False),
        cluster_commands.enable_workload_identity(CLUSTER),
    ),
    "issuer-unchanged": (lambda app: described(app, issuer="https://issuer.example/new/"), DELETE),
    "namespace-exists": (
        lambda app: cluster(app).namespaces.discard("shop"),
        "kubectl create namespace shop",
    ),
    "credential-exists": (forget_credentials, REPAIR),
    "credential-issuer": (lambda app: credential(app, issuer="https://issuer.example/other/"), REPAIR),
    "credential-subject": (lambda app: credential(app, subject="system:serviceaccount:a:b"), REPAIR),
    "credential-audience": (lambda app: credential(app, audiences=("api://other",)), REPAIR),
    "service-account-exists": (lambda app: drop(app, "ServiceAccount"), REPAIR),
    "service-account-unchanged": (lambda app: anew(app, "ServiceAccount"), REPAIR),
    "service-account-annotation": (
        lambda app: thing(app, "ServiceAccount").annotations.update({CLIENT_ID: "another"}),
        REPAIR,
    ),
    "settings-exist": (lambda app: drop(app, "Secret"), REPAIR),
    "settings-unchanged": (lambda app: anew(app, "Secret"), REPAIR),
    "settings-keys": (lambda app: thing(app, "Secret").data.pop(ENDPOINT), REPAIR),
    "role-assigned": (lambda app: app.world.assignments.clear(), REPAIR),
    "access-proved": (unreadable, "az role assignment list --all --assignee"),
}
"""How to break it alone, and how its remedy begins, by finding."""
UNSEEN = {"service_account-looked-at", "settings-looked-at"}
"""What says so too where nothing in the cluster can be looked at."""
ALSO: dict[str, set[str]] = {
    "cluster-takes-entra": {"prove-looked-at", *UNSEEN},
    "issuer-unchanged": {"access-proved"},
    "service-account-exists": {"prove-looked-at"},
    "credential-exists": {"access-proved"},
    "credential-issuer": {"access-proved"},
    "credential-subject": {"access-proved"},
    "credential-audience": {"access-proved"},
    "role-assigned": {"access-proved"},
}
"""What cannot work without it, by finding: only seen where proofs are on."""


async def failed(app: LocalApp, connection_id: str) -> dict[str, str]:
    """Remedy by finding, of all that a validation finds wrong."""
    body = {"action": "validate", "connectionId": connection_id}
    record = await app.send(body, message_id=f"look-{len(app.journal.calls)}")
    await app.settle()
    _, shown, _ = await HttpApp(app).call("get_operation", operationId=str(record.operation_id))
    assert shown["state"] == "succeeded"
    return {one["name"]: one["remedy"] for one in shown["findings"] if one["result"] == "failed"}


@pytest.mark.parametrize("name", FINDINGS)
async def test_each_finding_fails_alone_and_says_what_mends_it(tmp_path: Path, name: str):
    app = make_app(tmp_path, MOORING_PROVE="on")
    connection_id = (await app.send(create_body())).connection_id
    await app.settle()
    assert await app.state(connection_id) == "usable"
    assert await failed(app, connection_id) == {}
    breaks, remedy = FINDINGS[name]
    breaks(app)
    found = await failed(app, connection_id)
    assert set(found) == {name} | ALSO.get(name, set())
    assert remedy.format(id=connection_id) in found[name]


@pytest.mark.parametrize("name", sorted(set(FINDINGS) - {"access-proved"}))
async def test_without_proofs_nothing_else_fails_with_it(app: LocalApp, name: str):
    connection_id = await connected(app)
    FINDINGS[name][0](app)
    also = UNSEEN if name == "cluster-takes-entra" else set()
    assert set(await failed(app, connection_id)) == {name} | also


async def test_a_setting_with_another_value_and_a_role_of_another_kind_are_wrong_too(app: LocalApp):
    connection_id = await connected(app)
    thing(app, "Secret").data[ENDPOINT] = "https://elsewhere.example/"
    assert set(await failed(app, connection_id)) == {"settings-keys"}
    thing(app, "Secret").data[ENDPOINT] = "https://orders.blob.core.windows.net/"
    assignment(app, role_definition_id=READER)
    assert set(await failed(app, connection_id)) >= {"role-assigned"}


@pytest.mark.parametrize(
    ("state", "result"), [("Failed", "warning"), ("Canceled", "warning"), ("Updating", "ok")]
)
async def test_a_last_change_of_the_cluster_that_failed_is_said_and_all_else_looked_at(
    app: LocalApp, state: str, result: str
):
    connection_id = await connected(app)
    described(app, provisioning_state=state)
    thing(app, "Secret").data.pop(ENDPOINT)
    record = await app.send({"action": "validate", "connectionId": connection_id}, message_id="look")
    await app.settle()
    _, shown, _ = await HttpApp(app).call("get_operation", operationId=str(record.operation_id))
    found = {one["name"]: one for one in shown["findings"]}
    assert found["cluster-running"]["result"] == result
    assert state in found["cluster-running"]["detail"]
    assert found["settings-keys"]["result"] == "failed"


async def test_an_identity_that_is_gone_or_another_is_said(app: LocalApp):
    connection_id = await connected(app)
    [(key, identity)] = app.world.identities.items()
    app.world.identities[key] = dataclasses.replace(identity, client_id="another")
    assert "identity-exists" in await failed(app, connection_id)
    del app.world.identities[key]
    assert "identity-exists" in await failed(app, connection_id)


@pytest.mark.parametrize(
    ("properties", "result"),
    [
        ({"publicNetworkAccess": "Disabled"}, "failed"),
        ({"publicNetworkAccess": "Disabled", "privateEndpointConnections": [PENDING]}, "failed"),
        ({"publicNetworkAccess": "Disabled", "privateEndpointConnections": [PRIVATE]}, "warning"),
        ({"publicNetworkAccess": "Disabled", "networkAcls": {"ipRules": [{"value": "1.2.3.4"}]}}, "failed"),
        ({"networkAcls": {"defaultAction": "Deny"}}, "failed"),
        ({"networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "1.2.3.4"}]}}, "warning"),
        ({"networkAcls": {"defaultAction": "Deny", "virtualNetworkRules": [{"id": "/x"}]}}, "warning"),
        ({"publicNetworkAccess": "SecuredByPerimeter"}, "warning"),
        ({"publicNetworkAccess": "Enabled", "networkAcls": {"defaultAction": "Allow"}}, "ok"),
    ],
)
async def test_a_firewall_that_lets_nobody_in_has_failed_and_one_with_a_way_in_is_only_said(
    app: LocalApp, properties: dict[str, Any], result: str
):
    target(app, **properties)
    connection_id = await connected(app)  # the way in may be made later: a create goes on
    record = await app.send({"action": "validate", "connectionId": connection_id}, message_id="look")
    await app.settle()
    _, shown, _ = await HttpApp(app).call("get_operation", operationId=str(record.operation_id))
    [network] = [one for one in shown["findings"] if one["name"] == "network"]
    assert network["result"] == result
    assert bool(network["remedy"]) == (result != "ok")
