"""The world of the sweep benchmark: clusters and connections as creates leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared import naming
from shared.models import ConnectionState, OperationId
from shared.ports import Credential, Identity, KubeObject, Linker, RoleAssignment, Upsert
from shared.records import Dependent
from shared.rows import columns
from shared.state import _connection_columns
from shared.users import User
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, LocalApp, create_body, make_app

Json = dict[str, Any]


async def template(folder: Path) -> tuple[LocalApp, Json]:
    """One connection made by the product itself; the others are copies of its rows."""
    app = make_app(folder)
    pattern = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/*"
    app.policy_file.write_text(app.policy_file.read_text().replace(CLUSTER, pattern))
    record = await app.send(create_body(), message_id="template")
    await app.settle()
    connection_id = record.connection_id
    assert await app.state(connection_id) == "configured"
    rows = [row for row in app.store.rows("connections") if row.partition == connection_id]
    stored = await app.services.state.connection(connection_id)
    assert stored is not None
    intents = await app.services.state.intents(connection_id)
    return app, {"rows": rows, "connection": stored.value, "intents": intents}


async def fill(app: LocalApp, model: Json, cluster: int, number: int) -> None:
    """A cluster with connections as creates leave them, and one of Service Connector's in a hundred."""
    cluster_id = f"{CLUSTER}-{cluster:03d}"
    app.world.add_cluster(cluster_id, namespaces=("shop",))
    issuer = app.world.clusters[naming.fold_id(cluster_id)].described.issuer
    for one in range(number):
        if one % 100 == 99:
            put_linker(app, cluster_id, one)
        else:
            await put_connection(app, model, cluster_id, issuer, f"c{cluster:03d}n{one:05d}")


def put_linker(app: LocalApp, cluster_id: str, one: int) -> None:
    name = f"linker{one}"
    linker_id = f"{cluster_id}/providers/Microsoft.ServiceLinker/linkers/{name}"
    app.world.linkers[naming.fold_id(linker_id)] = Linker(
        resource_id=linker_id,
        name=name,
        namespace="shop",
        target_id=STORAGE,
        client_id="",
        client_type="none",
        provisioning_state="Succeeded",
    )
    app.clusters.put_object(cluster_id, "Secret", "shop", naming.secret_name(name))


async def put_connection(app: LocalApp, model: Json, cluster_id: str, issuer: str, name: str) -> None:
    """Rows and things of one more connection, each with a workload, an identity and a target of its own."""
    template, intents = model["connection"], model["intents"]
    target_id = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/s{name}"
    spec = template.spec.model_copy(
        update={"name": name, "cluster_id": cluster_id, "workload": name, "target_id": target_id}
    )
    connection_id = naming.connection_id(cluster_id, "shop", name)
    operation_id = OperationId(f"{connection_id}-{template.last_operation.partition('-')[2]}")
    connection = template.model_copy(
        update={
            "spec": spec,
            "connection_id": connection_id,
            "last_operation": operation_id,
            "state": ConnectionState.CONFIGURED,
        }
    )
    made = things(app, connection, issuer)
    changes = [Upsert(key="a|connection", columns=_connection_columns(connection))]
    for step, intent in intents.items():
        planned, outputs = made.get(step, ({}, {}))
        copied = intent.model_copy(
            update={
                "connection_id": connection_id,
                "planned": {**intent.planned, **planned},
                "outputs": {**intent.outputs, **outputs},
            }
        )
        changes.append(Upsert(key=f"i|{step}", columns=columns(copied, step=step)))
    await app.store.transact("connections", connection_id, [*changes, *operation(model, operation_id)])
    identity_id = made["managed_identity"][1]["resourceId"]
    user = User(connection_id=connection_id, generation=1)
    await app.services.engine.users.join(f"identity|{naming.fold_id(identity_id)}", user, settled=never)
    credential = f"{identity_id}/federatedIdentityCredentials/{made['federated_credential'][1]['name']}"
    for kind, resource_id in (
        ("target", target_id),
        ("cluster", cluster_id),
        ("identity", identity_id),
        ("credential", credential),
    ):
        dependent = Dependent(resource_id=resource_id, kind=kind, connection_id=connection_id, generation=1)
        await app.services.events.dependents.add(dependent)


async def never(_: object) -> bool:
    return False


def operation(model: Json, operation_id: OperationId) -> list[Upsert]:
    """The create's own rows, so that a partition is as large as it would be."""
    old = model["connection"].last_operation
    return [
        Upsert(
            key=row.key.replace(old, operation_id),
            columns={**row.columns, "body": str(row.columns["body"]).replace(old, operation_id)},
        )
        for row in model["rows"]
        if row.key.startswith("op|")
    ]


def things(app: LocalApp, connection: Any, issuer: str) -> dict[str, tuple[Json, Json]]:
    """What a create makes in Azure and the cluster, and what it records of it."""
    spec, world = connection.spec, app.world
    identity_name = naming.identity_name(spec.cluster_id, "shop", spec.workload)
    group = app.services.engine.rules.identity_resource_group_id
    identity_id = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity_name}"
    workload = naming.workload_key(spec.cluster_id, "shop", spec.workload)
    identity = Identity(
        resource_id=identity_id,
        client_id=world.guid(),
        principal_id=world.guid(),
        location="westeurope",
        tags={"mooring-workload": workload},
    )
    world.identities[naming.fold_id(identity_id)] = identity
    world.resources[naming.fold_id(spec.target_id)] = {"id": spec.target_id}
    account = naming.service_account_name(identity.client_id)
    credential = Credential(
        name=naming.credential_name(spec.cluster_id, "shop", account, issuer),
        issuer=issuer,
        subject=naming.subject("shop", account),
        audiences=(naming.AUDIENCE,),
    )
    world.credentials[naming.fold_id(identity_id)] = {credential.name: credential}
    role = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
    assignment = naming.role_assignment_name(spec.target_id, identity.principal_id, role)
    world.assignments[naming.fold_id(spec.target_id), assignment] = RoleAssignment(
        scope=spec.target_id, name=assignment, principal_id=identity.principal_id, role_definition_id=role
    )
    ours = {"app.kubernetes.io/managed-by": "mooring"}
    tenant = app.services.engine.rules.tenant_id
    secret = put(
        app,
        connection,
        "Secret",
        naming.secret_name(spec.name),
        {**ours, "mooring.dev/connection": connection.connection_id},
        {"mooring.dev/nonce": "n"},
    )
    served = put(
        app,
        connection,
        "ServiceAccount",
        account,
        {**ours, "mooring.dev/workload": workload},
        {
            "mooring.dev/nonce": "n",
            "azure.workload.identity/client-id": identity.client_id,
            "azure.workload.identity/tenant-id": tenant,
        },
    )
    item = {
        "role": "r",
        "scope": spec.target_id,
        "principalId": identity.principal_id,
        "name": assignment,
        "roleDefinitionId": role,
    }
    return {
        "preflight": ({}, {"issuer": issuer}),
        "managed_identity": (
            {"resourceId": identity_id},
            {"resourceId": identity_id, "clientId": identity.client_id, "principalId": identity.principal_id},
        ),
        "role_assignments": ({"assignments": [item]}, {"assignments": [item]}),
        "federated_credential": (
            {
                "identityId": identity_id,
                "name": credential.name,
                "issuer": issuer,
                "subject": credential.subject,
            },
            {"name": credential.name},
        ),
        "service_account": ({"name": account, "nonce": "n"}, {"name": account, "uid": served.uid}),
        "settings": (
            {"name": secret.name, "nonce": "n"},
            {"name": secret.name, "uid": secret.uid, "version": f"{secret.uid} {secret.resource_version}"},
        ),
    }


def put(app: LocalApp, connection: Any, kind: str, name: str, *marks: Json) -> KubeObject:
    return app.clusters.put_object(
        connection.spec.cluster_id, kind, "shop", name, labels=marks[0], annotations=marks[1]
    )


def lose(app: LocalApp, clusters: int) -> None:
    """Delete one thing of each kind without an event."""
    world = app.world
    storage = "/providers/microsoft.storage/storageaccounts/"
    world.remove(next(key for key in world.resources if f"{storage}sc001" in key))
    world.remove(next(key for key in world.identities if "c002n" in key))
    world.remove(next(key for key in world.linkers if f"{naming.fold_id(CLUSTER)}-003" in key))
    world.remove(f"{CLUSTER}-{clusters - 1:03d}")
