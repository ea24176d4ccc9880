"""A patch goes on from what was asked for last, though it is not carried out yet."""

from typing import Any

from shared import naming
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.sweeps import connected

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


async def patched(app: LocalApp, body: Any) -> int:
    status, _, _ = await HttpApp(app).call("update_connection", connectionId=ID, body=body)
    return status


async def test_a_patch_does_not_undo_an_update_that_still_waits(app: LocalApp):
    await connected(app)
    assert await patched(app, {"intent": "read"}) == 202
    assert await patched(app, {"clientType": "java"}) == 202
    await app.settle()
    _, shown, _ = await HttpApp(app).call("get_connection", connectionId=ID)
    assert (shown["intent"], shown["clientType"]) == ("read", "java")
    assert [one["role"] for one in shown["roleAssignments"]] == ["Storage Blob Data Reader"]


async def test_a_patch_beside_a_repair_goes_on_from_the_connection(app: LocalApp):
    await connected(app, intent="read")
    await app.send({"action": "repair", "connectionId": ID}, message_id="repair")
    assert await patched(app, {"clientType": "java"}) == 202
    await app.settle()
    _, shown, _ = await HttpApp(app).call("get_connection", connectionId=ID)
    assert (shown["intent"], shown["clientType"]) == ("read", "java")
