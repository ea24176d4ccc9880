"""Prunes over HTTP: the record of each, and the list of a month."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from handlers import http_prunes
from shared.errors import PermanentError
from shared.models import Operation, OperationState
from tests.fakes.held_prunes import held_by_cap, read_again
from tests.fakes.http_app import SITE, HttpApp
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, deletion_event, make_app
from tests.unit.test_restore import LINKER, OURS, THEIRS, created, lost, observed, our_prune, pruned

MISSING = f"{'0' * 24}-{'0' * 12}"


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


async def record(app: LocalApp, prune: Operation) -> dict[str, Any]:
    status, body, headers = await HttpApp(app).call("get_prune", pruneId=prune.operation_id)
    assert status == 200
    assert ("Retry-After" in headers) is not prune.state.final
    return dict(body)


def outcomes(body: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    return {(one["kind"], one["outcome"], one["rule"]) for one in body["objects"]}


# --- the record ----------------------------------------------------------------------------------


async def test_the_record_of_a_prune_has_fact_objects_decision_and_rule(app: LocalApp):
    prune = await our_prune(app)
    body = await record(app, prune)
    assert (body["decision"], body["rule"], body["state"]) == ("removed", "confirmed-gone", "succeeded")
    fact = body["fact"]
    assert (fact["resourceId"], fact["kind"], fact["source"]) == (STORAGE, "target", "event")
    assert fact["eventTime"] == "2026-11-22T10:00:00.0000000Z"
    assert fact["firstGoneAt"] < fact["confirmedAt"]
    assert fact["witness"]
    assert outcomes(body) == {
        ("role", "removed", "last-user"),
        ("credential", "removed", "last-user"),
        ("Secret", "removed", "proven-by-uid"),
        ("ServiceAccount", "removed", "proven-by-uid"),
        ("identity", "removed", "last-user"),
    }
    [secret] = [one for one in body["saved"] if one["kind"] == "Secret"]
    assert secret["keys"] == ["AZURE_STORAGEBLOB_CLIENTID", "AZURE_STORAGEBLOB_RESOURCEENDPOINT"]
    assert "orders.blob.core.windows.net" not in str(body)
    assert "nonce" not in str(body)
    assert body["restore"] == f"{SITE}/api/prunes/{prune.operation_id}/restore"


async def test_a_prune_under_way_shows_what_it_means_to_remove_and_why_it_is_held(tmp_path: Path):
    _, [prune] = (held := await held_by_cap(tmp_path))
    body = await record(held[0], prune)
    assert (body["decision"], body["rule"], body["restore"]) == ("held", "cap", None)
    planned = {(one["kind"], one["outcome"], one["restorable"]) for one in body["objects"]}
    assert planned == {
        ("role", "planned", "no"),
        ("credential", "planned", "no"),
        ("Secret", "planned", "unknown"),
        ("ServiceAccount", "planned", "yes"),
        ("identity", "planned", "no"),
    }


async def test_a_report_has_the_same_record_of_what_it_would_have_done(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_MODE="report")
    await observed(app)
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=600)
    body = await record(app, (await app.operations(THEIRS))[-1])
    assert (body["decision"], body["rule"], body["reportOnly"]) == ("reported", "report-mode", True)
    assert outcomes(body) == {
        ("Secret", "would", "proven-by-uid"),
        ("ServiceAccount", "would", "proven-by-uid"),
    }
    assert all(one["use"]["users"] == 0 and one["restorable"] == "yes" for one in body["objects"])
    assert body["fact"]["confirmedAt"]
    assert (body["restorable"], body["restore"]) == (False, None)


async def test_a_prune_that_kept_everything_says_by_which_rule(app: LocalApp):
    client_id = await observed(app)
    for kind, name in (("Secret", "sc-theirs-secret"), ("ServiceAccount", f"sc-account-{client_id}")):
        app.clusters.put_object(CLUSTER, kind, "shop", name, annotations={"mooring.dev/keep": ""})
    body = await record(app, await lost(app))
    assert (body["decision"], body["rule"]) == ("kept", "keep-annotation")


async def test_a_resource_that_is_alive_ends_the_prune_by_that_rule(app: LocalApp):
    await created(app)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=60)
    body = await record(app, (await app.operations(OURS))[-1])
    assert (body["decision"], body["rule"]) == ("nothing", "alive")


async def test_a_prune_that_a_delete_overtook_and_one_that_failed_say_so(tmp_path: Path):
    app, [prune] = await held_by_cap(tmp_path)
    await app.send({"action": "delete", "connectionId": prune.connection_id}, message_id="d")
    body = await record(app, (await read_again(app, prune)))
    assert (body["decision"], body["rule"]) == ("nothing", "overtaken")


async def test_a_failed_prune_is_no_decision_of_a_rule(app: LocalApp):
    await observed(app)
    app.journal.before = lambda call: (
        PermanentError("arm-access-denied", "no") if call.name == "clusters.delete" else None
    )
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=600)
    body = await record(app, (await app.operations(THEIRS))[-1])
    assert (body["decision"], body["rule"], body["code"]) == ("failed", None, "arm-access-denied")


@pytest.mark.parametrize("prune_id", [MISSING, "x", "a/b#?"])
async def test_what_is_no_prune_is_not_found(app: LocalApp, prune_id: str):
    status, body, _ = await HttpApp(app).call("get_prune", pruneId=prune_id)
    assert (status, body["code"]) == (404, "not-found")


async def test_a_prune_from_before_rules_were_recorded_can_still_be_read(app: LocalApp):
    prune = await our_prune(app)
    snapshot = await app.services.state.load(prune.operation_id)
    assert snapshot is not None
    step = snapshot.steps["settings"].value.model_copy(update={"outputs": {"kept": ["Secret shop/x"]}})
    await app.services.state.save_step(snapshot, step)
    said = [one["detail"] for one in (await record(app, prune))["objects"] if one["outcome"] == "kept"]
    assert said == ["Secret shop/x"]


# --- the list ------------------------------------------------------------------------------------


async def test_the_prunes_of_a_month_are_listed_by_state_and_cluster(app: LocalApp):
    prune = await pruned(app)
    http = HttpApp(app)
    month = f"{prune.opened_at:%Y-%m}"
    status, body, _ = await http.call("list_prunes", params={"month": month})
    assert (status, body["month"], body["truncated"]) == (200, month, False)
    [one] = body["prunes"]
    assert (one["id"], one["cause"], one["decision"]) == (prune.operation_id, "linker", "removed")
    assert one["record"] == f"{SITE}/api/prunes/{prune.operation_id}"
    for params, count in (
        ({"state": "succeeded"}, 1),
        ({"state": "held"}, 0),
        ({"clusterId": CLUSTER.upper()}, 1),
        ({"clusterId": STORAGE}, 0),
        ({"month": "2020-01"}, 0),
    ):
        _, body, _ = await http.call("list_prunes", params=params)
        assert len(body["prunes"]) == count, params
    status, body, _ = await http.call("list_prunes", params={"month": "2026-13"})
    assert (status, body["code"]) == (400, "invalid-month")


async def test_a_prune_is_listed_before_it_is_opened_and_one_never_opened_is_not_shown(app: LocalApp):
    await observed(app)
    app.journal.after = lambda call: (
        RuntimeError("crash") if call.name == "state.transact" and call.arguments[0] == "prunes" else None
    )
    app.world.remove(LINKER)
    with pytest.raises(RuntimeError):
        await app.services.events.receive(deletion_event(LINKER))
    app.journal.after = None
    assert len(app.store.rows("prunes")) == 1
    _, body, _ = await HttpApp(app).call("list_prunes")
    assert body["prunes"] == []


async def test_a_held_prune_is_found_behind_all_that_ended_since(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(http_prunes, "LIST_LIMIT", 1)
    older = await pruned(app)
    app.clock.advance(60)
    await our_prune(app)
    params = {"month": f"{older.opened_at:%Y-%m}"}
    _, body, _ = await HttpApp(app).call("list_prunes", params=params)
    assert (len(body["prunes"]), body["truncated"]) == (1, True)
    stored = await app.services.state.operation(older.operation_id)
    assert stored is not None
    snapshot = await app.services.state.load(older.operation_id)
    assert snapshot is not None
    await app.services.state.commit(snapshot, stored.value.model_copy(update={"state": OperationState.HELD}))
    _, body, _ = await HttpApp(app).call("list_prunes", params={**params, "state": "held"})
    assert [one["id"] for one in body["prunes"]] == [older.operation_id]
    assert body["truncated"] is False
