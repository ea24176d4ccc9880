"""Whoever reads that something is wrong reads what to do about it, too."""

from typing import Any

from shared import naming
from shared.models import ConnectionId
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, LocalApp, delete_body
from tests.fakes.sweeps import connected

SECRET = ("Secret", "shop", "sc-ordersblob-secret")


async def failed(app: LocalApp, connection_id: str) -> dict[str, str]:
    """Remedy by finding, of all that a validation finds wrong."""
    body = {"action": "validate", "connectionId": connection_id}
    record = await app.send(body, message_id=f"look-{len(app.journal.calls)}")
    await app.settle()
    _, shown, _ = await HttpApp(app).call("get_operation", operationId=str(record.operation_id))
    return {one["name"]: one["remedy"] for one in shown["findings"] if one["result"] == "failed"}


async def test_what_a_repair_mends_is_said_with_the_repair(app: LocalApp):
    connection_id = await connected(app)
    del app.world.clusters[naming.fold_id(CLUSTER)].objects[SECRET]
    repair = f"POST /api/connections/{connection_id}/repair"
    assert await failed(app, connection_id) == {"settings-exist": repair}


async def test_what_no_repair_mends_is_said_with_what_does(app: LocalApp):
    connection_id = await connected(app)
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.discard("shop")
    found = await failed(app, connection_id)
    assert found["namespace-exists"].startswith("kubectl create namespace shop")
    app.world.remove(CLUSTER)
    found = await failed(app, connection_id)
    assert found["cluster-exists"] == f"DELETE /api/connections/{connection_id}"


async def test_what_a_not_found_means_is_said(app: LocalApp):
    http = HttpApp(app)

    async def asked(function: str, connection_id: str) -> Any:
        status, body, _ = await http.call(function, connectionId=connection_id)
        assert (status, body["code"], body["remedy"]) == (
            404,
            "not-found",
            "GET /api/connections lists them",
        )
        return body["detail"]

    assert await asked("get_connection", "orders") == "a connection's id is 24 hexadecimal digits"
    assert await asked("delete_connection", "0" * 24) == f"there is no connection {'0' * 24}"
    record = await app.send(delete_body())
    assert record.outcome == "nothing-to-do"
    connection_id = ConnectionId(await connected(app))
    status, _, headers = await http.call("get_manifest", connectionId=connection_id)
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    gone = "the connection is deleted: nothing of it is left"
    assert await asked("repair_connection", connection_id) == gone
    assert await asked("get_manifest", connection_id) == "the connection has no service account, or not yet"
