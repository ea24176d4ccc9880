"""Rows of a newer version: lists go on without them, and no request vanishes because of one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handlers import http_lists
from shared import naming
from shared.errors import UnreadableRowError
from shared.ports import Row, Upsert
from shared.records import RequestLog
from shared.rows import Listed
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, deletion_event
from tests.fakes.sweeps import connected, swept

NEWER = "added_later"
ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


async def age(app: LocalApp, table: str, *, key: str = "", partition: str = "") -> list[Row]:
    """Rows are as a newer version would have written them; returns them."""
    found = [
        row
        for row in app.store.rows(table)
        if key in {"", row.key} and row.partition.startswith(partition) and row.columns.get("body")
    ]
    for row in found:
        body = json.dumps({**json.loads(str(row.columns["body"])), NEWER: "s3cret"})
        await app.store.transact(
            table, row.partition, [Upsert(key=row.key, columns={**row.columns, "body": body})]
        )
    return found


async def listed(app: LocalApp, route: str, what: str, **params: str) -> tuple[int, int]:
    status, body, _ = await HttpApp(app).call(route, params=params)
    assert status == 200, body
    assert "s3cret" not in json.dumps(body)
    return len(body[what]), body["unreadable"]


# --- lists ---------------------------------------------------------------------------------------


async def test_a_list_of_connections_goes_on_without_one_and_says_which(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await connected(app)
    await connected(app, "other")
    assert await listed(app, "list_connections", "connections") == (2, 0)
    await age(app, "connections", key="a|connection", partition=ID)
    assert await listed(app, "list_connections", "connections") == (1, 1)
    told = [one for one in caplog.records if one.getMessage().startswith("row-unreadable")]
    assert [one.key for one in told] == [f"{ID}/a|connection"]  # type: ignore[attr-defined]
    assert "s3cret" not in caplog.text


async def test_a_list_of_drift_goes_on_without_one(app: LocalApp):
    await connected(app)
    app.world.clusters[naming.fold_id(CLUSTER)].objects.clear()
    await swept(app)
    assert await listed(app, "list_connections", "connections", drift="true") == (1, 0)
    await age(app, "connections", key="a|connection")
    assert await listed(app, "list_connections", "connections", drift="true") == (0, 1)


async def test_the_list_of_open_operations_goes_on_without_one(app: LocalApp):
    for name in ("orders-blob", "other"):
        await app.send(create_body(name), message_id=name)
    [operation] = await app.operations(ID)
    assert await listed(app, "find_operations", "operations") == (2, 0)
    await age(app, "connections", key=f"op|{operation.operation_id}")
    assert await listed(app, "find_operations", "operations") == (1, 1)


async def test_the_list_of_prunes_goes_on_without_one(app: LocalApp):
    await connected(app)
    target = create_body()["connection"]["target"]["id"]
    app.world.remove(target)
    await app.services.events.receive(deletion_event(target))
    prune = (await app.operations(ID))[-1]
    assert await listed(app, "list_prunes", "prunes") == (1, 0)
    await age(app, "connections", key=f"op|{prune.operation_id}")
    assert await listed(app, "list_prunes", "prunes") == (0, 1)


async def test_the_lists_of_orphans_and_sweeps_go_on_without_one(app: LocalApp):
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-lost-secret")
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-lost2-secret")
    await connected(app)
    await swept(app)
    await swept(app)
    assert await listed(app, "list_orphans", "orphans") == (2, 0)
    assert await listed(app, "list_sweeps", "sweeps") == (2, 0)
    orphans = [row.key for row in app.store.rows("orphans")]
    await age(app, "orphans", key=orphans[0])
    await age(app, "sweeps", key=next(row.key for row in app.store.rows("sweeps") if row.key[:2] == "s|"))
    assert await listed(app, "list_orphans", "orphans") == (1, 1)
    assert await listed(app, "list_sweeps", "sweeps") == (1, 1)


async def test_a_list_logs_so_many_keys_and_counts_them_all(caplog: pytest.LogCaptureFixture):
    left_out, keys = http_lists.LeftOut(), Listed[int]()
    keys.unreadable = tuple(str(number) for number in range(http_lists.LOGGED + 5))
    assert left_out.note(keys) is keys
    assert left_out.told() == {"unreadable": http_lists.LOGGED + 5}
    assert len(caplog.records) == http_lists.LOGGED


async def test_what_is_written_whole_is_read_without_what_is_new_in_it(app: LocalApp):
    """A request's record and a prune's line: nobody writes them back from what was read."""
    await app.send({"action": "nonsense", "requestId": "r"}, message_id="r")
    await age(app, "requests")
    day = f"{app.clock.now():%Y-%m-%d}"
    assert await listed(app, "find_operations", "operations", state="rejected", day=day) == (1, 0)
    assert (await RequestLog(app.store).find("id:r")).code == "unknown-action"  # type: ignore[union-attr]


# --- requests ------------------------------------------------------------------------------------


async def poisoned(app: LocalApp, body: dict[str, Any]) -> dict[str, Any]:
    """The request in the poison queue; returns its refusal, as the day's list shows it."""
    await HttpApp(app).handlers["connection_requests_poison"](json.dumps(body))
    [refusal] = await HttpApp(app).operations(state="rejected")
    return refusal


@pytest.mark.parametrize("request_id", ["", "r-1"])
async def test_a_request_that_meets_one_in_the_poison_queue_is_refused_on_record(
    app: LocalApp, request_id: str
):
    await connected(app)
    await age(app, "connections", key="a|connection")
    body: dict[str, Any] = {"action": "delete", "connectionId": ID}
    body |= {"requestId": request_id} if request_id else {}
    with pytest.raises(UnreadableRowError):
        await app.services.intake.receive(json.dumps(body), message_id="m", source="queue")
    refusal = await poisoned(app, body)
    assert (refusal["code"], refusal["source"], refusal["kind"]) == ("row-unreadable", "poison", "delete")
    assert (refusal["connectionId"], refusal["requestId"]) == (ID, request_id or None)
    assert "s3cret" not in json.dumps(refusal)
    assert "send the request again" in refusal["remedy"]
    assert len(app.queue.take("rejected")) == 1
    if request_id:
        [found] = await HttpApp(app).operations(requestId=request_id)
        assert found["code"] == "row-unreadable"


async def test_it_is_carried_out_when_it_is_sent_again_after_the_deployment(app: LocalApp):
    await connected(app)
    [newer] = await age(app, "connections", key="a|connection")
    body = {"action": "delete", "connectionId": ID, "requestId": "r-1"}
    await poisoned(app, body)
    older = Upsert(key=newer.key, columns=newer.columns)
    await app.store.transact("connections", newer.partition, [older])
    assert (await app.send(body, message_id="m")).outcome == "opened"
    await app.settle()
    assert await app.state(ID) == "deleted"


async def test_one_whose_own_record_cannot_be_read_is_in_the_list_of_its_day(app: LocalApp):
    body = {"action": "delete", "connectionId": ID, "requestId": "r-1"}
    key = naming.digest(["x"])
    await app.send(body, message_id=key)
    for row in app.store.rows("requests"):
        await app.store.transact("requests", row.partition, [Upsert(key=row.key, columns={"body": "{}"})])
    refusal = await poisoned(app, body)
    assert (refusal["code"], refusal["requestId"]) == ("row-unreadable", "r-1")
    assert (refusal["connectionId"], refusal["kind"]) == (ID, "delete")
