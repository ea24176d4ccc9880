"""Restores over HTTP: accepted and found again by their key, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.http_app import SITE, HttpApp
from tests.fakes.local_app import LocalApp, create_body, make_app
from tests.unit.test_restore import THEIRS, pruned

MISSING = f"{'0' * 24}-{'0' * 12}"


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


async def test_a_restore_is_accepted_and_found_again_by_its_key(app: LocalApp):
    prune = await pruned(app)
    http = HttpApp(app)
    headers = {"Idempotency-Key": "once"}
    status, body, sent = await http.call("restore_prune", pruneId=prune.operation_id, headers=headers)
    assert (status, body["outcome"]) == (202, "opened")
    assert sent["Location"] == f"{SITE}/api/operations/{body['operationId']}"
    again = await http.call("restore_prune", pruneId=prune.operation_id, headers=headers)
    assert again[1]["operationId"] == body["operationId"]
    await app.settle()
    _, operation, _ = await http.call("get_operation", operationId=body["operationId"])
    assert (operation["kind"], operation["state"]) == ("restore", "succeeded")
    assert {one["name"] for one in operation["findings"]} >= {"identity-exists", "linker-exists"}
    _, listed, _ = await http.call("list_connections", params={"state": "restored"})
    assert [one["id"] for one in listed["connections"]] == [THEIRS]


async def test_a_restore_that_cannot_be_is_refused_with_its_reason(app: LocalApp):
    status, body, _ = await HttpApp(app).call("restore_prune", pruneId=MISSING)
    assert (status, body["code"]) == (404, "not-found")
    prune = await pruned(app, data={"own": "x"})
    await app.services.restorer.restore(prune.operation_id, key="k")
    status, body, _ = await HttpApp(app).call(
        "restore_prune", pruneId=prune.operation_id, headers={"Idempotency-Key": "a b"}
    )
    assert (status, body["code"]) == (400, "invalid-id")


async def test_a_restore_behind_another_operation_is_refused(app: LocalApp):
    prune = await pruned(app)
    await app.send(create_body("theirs"), message_id="c")
    status, body, _ = await HttpApp(app).call("restore_prune", pruneId=prune.operation_id)
    assert (status, body["code"]) == (409, "not-restorable")
    assert "under way" in body["detail"]
