"""A connection by a key of the target, on the in-memory app: made, looked at and lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared import naming
from shared.rows import TABLES
from tests.fakes.azure_world import StoredObject
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import (
    CLUSTER,
    POLICY,
    STORAGE,
    LocalApp,
    create_body,
    deletion_event,
    make_app,
)

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
NAME = "sc-ordersblob-secret"
KEY = "Zk9vPrettySecretKey0123456789abcdefABCDEF=="
ROTATED = "Um90YXRlZFNlY3JldEtleTk4NzY1NDMyMTA9PT09PQ=="
SETTING = "AZURE_STORAGEBLOB_CONNECTIONSTRING"
QUEUES = ("connection-requests", "connection-steps", "resource-events", "rejected")


def keys(value: str) -> dict[str, Any]:
    """Storage Accounts - List Keys."""
    rows = [("key1", value), ("key2", "other")]
    return {"keys": [{"keyName": name, "value": one, "permissions": "FULL"} for name, one in rows]}


def keyed_app(folder: Path) -> LocalApp:
    """An app whose policy allows keys, with an account that has one."""
    made = make_app(folder, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")
    made.policy_file.write_text(POLICY + '\nauth = ["workloadIdentity", "secret"]\n')
    made.world.keys[naming.fold_id(STORAGE)] = keys(KEY)
    return made


def body(**changes: Any) -> dict[str, Any]:
    return create_body(**({"authType": "secret"} | changes))


async def created(app: LocalApp, **changes: Any) -> None:
    await app.send(body(**changes))
    await app.settle()
    assert await app.state(ID) == "configured"


def secret(app: LocalApp) -> StoredObject:
    return app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", NAME]


async def get(app: LocalApp, name: str, **route: Any) -> Any:
    status, found, _ = await HttpApp(app).call(name, **route)
    assert status == 200, found
    return found


async def validated(app: LocalApp, key: str = "v") -> dict[str, dict[str, Any]]:
    await app.send({"action": "validate", "connectionId": ID}, message_id=key)
    await app.settle()
    found = await get(app, "get_operation", operationId=(await app.operations(ID))[-1].operation_id)
    return {one["name"]: one for one in found["findings"]}


def failed(findings: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: one["detail"] for name, one in findings.items() if one["result"] != "ok"}


async def lost(app: LocalApp) -> str:
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=600)
    return (await app.operations(ID))[-1].operation_id


def stored(app: LocalApp) -> str:
    """All that the app has written down, and what stands in its queues."""
    tables = [list(app.store.rows(table)) for table in TABLES]
    return repr((tables, [app.queue.take(queue) for queue in QUEUES], vars(app.topic)))
