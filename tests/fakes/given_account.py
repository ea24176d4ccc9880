"""A service account of somebody's own that a request names, and what is asked about it."""

from typing import Any

from shared import naming
from shared.ports import KubeObject
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import (
    CLUSTER,
    LocalApp,
    delete_body,
)

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
ACCOUNT = "orders-sa"
CLIENT_ID = "azure.workload.identity/client-id"
OTHERS = {"team": "shop"}


def allow(app: LocalApp, pattern: str = "orders-*") -> None:
    app.policy_file.write_text(f'{app.policy_file.read_text()}service_accounts = ["{pattern}"]\n')


def make_account(app: LocalApp, name: str = ACCOUNT, **annotations: str) -> KubeObject:
    return app.clusters.put_object(
        CLUSTER, "ServiceAccount", "shop", name, annotations={**OTHERS, **annotations}, manager="gitops"
    )


async def account(app: LocalApp, name: str = ACCOUNT) -> KubeObject:
    there = await app.clusters.get(CLUSTER, "ServiceAccount", "shop", name)
    assert there is not None
    return there


async def named(app: LocalApp) -> str:
    return (await account(app)).annotations.get(CLIENT_ID, "")


async def client_id(app: LocalApp) -> str:
    _, shown, _ = await HttpApp(app).call("get_connection", connectionId=ID)
    return str(shown["identity"]["clientId"])


async def findings(app: LocalApp) -> dict[str, Any]:
    record = await app.send(
        {"action": "validate", "connectionId": ID}, message_id=f"v{len(app.journal.calls)}"
    )
    await app.settle()
    _, shown, _ = await HttpApp(app).call("get_operation", operationId=str(record.operation_id))
    return {one["name"]: one for one in shown["findings"] if one["result"] == "failed"}


async def remove(app: LocalApp, name: str = "orders-blob") -> None:
    await app.send(delete_body(name), message_id=f"delete-{name}")
    await app.settle(seconds=4000)
