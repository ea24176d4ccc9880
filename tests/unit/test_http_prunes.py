"""Prunes and orphans over HTTP: the record, the release, the restore."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from handlers import http_operations, http_prunes
from shared import releasing
from shared.errors import PermanentError, StateConflictError
from shared.models import Operation, OperationState
from shared.orphans import Orphan, OrphanKind, orphan_id
from tests.fakes.http_app import SITE, HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, deletion_event, make_app
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


async def held_by_cap(tmp_path: Path, *, connections: int = 2) -> tuple[LocalApp, list[Operation]]:
    """Connections whose target is gone, in a cluster that sees one prune an hour: all but one are held."""
    settings = {"MOORING_PRUNE_CONFIRM_SECONDS": "1", "MOORING_PRUNE_GRACE_SECONDS": "1"}
    app = make_app(tmp_path, MOORING_PRUNE_CAP_PER_HOUR="1", **settings)
    for name in ("one", "two", "three", "four")[:connections]:
        await app.send(create_body(name), message_id=name)
        await app.settle()
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=120)
    found = [one for key in _ids(app) for one in await app.operations(key)]
    held = [one for one in found if one.state == "held"]
    assert [one.waiting for one in held] == ["cap"] * (connections - 1)
    return app, held


def _ids(app: LocalApp) -> list[str]:
    return sorted({row.partition for row in app.store.rows("connections")})


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
    body = await record(app, (await _again(app, prune)))
    assert (body["decision"], body["rule"]) == ("nothing", "overtaken")


async def _again(app: LocalApp, prune: Operation) -> Operation:
    stored = await app.services.state.operation(prune.operation_id)
    assert stored is not None
    return stored.value


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


# --- release -------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["cluster", "operation"])
async def test_what_the_cap_holds_is_released_and_woken(tmp_path: Path, by: str):
    app, [prune] = await held_by_cap(tmp_path)
    body = {"clusterId": CLUSTER.upper()} if by == "cluster" else {"operationIds": [prune.operation_id]}
    status, answer, _ = await HttpApp(app).call("release_prunes", body=body)
    released = [{"operationId": prune.operation_id, "outcome": "released"}]
    assert (status, answer) == (200, {"prunes": released, "released": 1, "truncated": False})
    present = await _again(app, prune)
    assert present.released
    snapshot = await app.services.state.load(prune.operation_id)
    assert snapshot is not None
    step = snapshot.steps["confirm_gone"].value
    assert (step.announced, step.due_at) == (True, app.clock.now())
    await app.settle(seconds=600)
    assert (await _again(app, prune)).state == "succeeded"
    assert await app.state(prune.connection_id) == "pruned"
    _, again, _ = await HttpApp(app).call("release_prunes", body={"operationIds": [MISSING]})
    assert again["prunes"] == [{"operationId": MISSING, "outcome": "not-found"}]


async def test_what_is_not_held_by_the_cap_is_not_released(app: LocalApp):
    prune = await pruned(app)
    _, body, _ = await HttpApp(app).call("release_prunes", body={"operationIds": [prune.operation_id]})
    assert body["prunes"] == [{"operationId": prune.operation_id, "outcome": "ended"}]
    _, body, _ = await HttpApp(app).call("release_prunes", body={"clusterId": CLUSTER})
    assert body == {"prunes": [], "released": 0, "truncated": False}


async def test_a_release_that_meets_a_moving_row_looks_again_and_never_for_ever(tmp_path: Path):
    app, [prune] = await held_by_cap(tmp_path)
    conflicts = [True]

    def rule(call: Call) -> BaseException | None:
        moved = call.name == "state.transact" and call.arguments[0] == "connections"
        return StateConflictError() if moved and conflicts and conflicts.pop() else None

    app.journal.before = rule
    [released] = (await app.services.releaser.of_cluster(CLUSTER)).prunes
    assert (released.operation_id, released.outcome) == (prune.operation_id, "released")
    app.journal.before = lambda call: StateConflictError() if call.name == "state.transact" else None
    with pytest.raises(StateConflictError):
        await app.services.releaser.these([prune.operation_id])


async def test_only_prunes_of_that_cluster_are_released(tmp_path: Path):
    app, [prune] = await held_by_cap(tmp_path)
    await app.send(create_body("three"), message_id="three")
    assert (await app.services.releaser.of_cluster(f"{CLUSTER}-2")).prunes == []
    assert not (await _again(app, prune)).released


async def test_a_call_releases_so_many_and_says_that_there_are_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    app, held = await held_by_cap(tmp_path, connections=4)
    monkeypatch.setattr(releasing, "LIMIT", 2)
    http, body = HttpApp(app), {"clusterId": CLUSTER}
    _, first, _ = await http.call("release_prunes", body=body)
    assert (first["released"], first["truncated"]) == (2, True)
    _, second, _ = await http.call("release_prunes", body=body)
    assert (second["released"], second["truncated"]) == (1, False), "what was released is not held any more"
    assert all([(await _again(app, one)).released for one in held])


async def test_a_prune_that_waits_for_a_pod_is_not_released(app: LocalApp):
    client_id = await observed(app)
    spec = {"serviceAccountName": f"sc-account-{client_id}", "containers": []}
    app.clusters.put_pod(CLUSTER, "shop", "p", spec)
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=100)
    [prune] = await app.operations(THEIRS)
    _, body, _ = await HttpApp(app).call("release_prunes", body={"operationIds": [prune.operation_id]})
    assert body["prunes"][0]["outcome"] == "not-held"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid-release"),
        (b"[" * 5000, "invalid-release"),
        (b'{"clusterId": "' + b"x" * 20_000 + b'"}', "invalid-release"),
        ([], "invalid-release"),
        ({"clusterId": 7}, "invalid-release"),
        ({"clusterId": CLUSTER, "operationIds": [MISSING]}, "invalid-release"),
        ({"operationIds": []}, "invalid-release"),
        ({"operationIds": [MISSING] * 101}, "invalid-release"),
        ({"clusterId": "/x"}, "invalid-id"),
        ({"operationIds": ["x"]}, "invalid-id"),
    ],
)
async def test_a_release_that_names_nothing_sound_is_refused(app: LocalApp, body: Any, code: str):
    status, answer, _ = await HttpApp(app).call("release_prunes", body=body)
    assert (status, answer["code"]) == (400, code)


# --- restore and orphans -------------------------------------------------------------------------


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


async def test_orphans_are_listed_read_and_pruned(app: LocalApp):
    http = HttpApp(app)
    thing = app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-lost-secret")
    orphan = Orphan(
        orphan_id=orphan_id(OrphanKind.SECRET, cluster_id=CLUSTER, namespace="shop", name="sc-lost-secret"),
        kind=OrphanKind.SECRET,
        cluster_id=CLUSTER,
        namespace="shop",
        name="sc-lost-secret",
        uid=thing.uid,
        rule="no-record",
        evidence={"createdAt": "2026-01-01T00:00:00Z"},
        first_seen_at=app.clock.now(),
        last_seen_at=app.clock.now(),
    )
    await app.services.orphans.put(orphan)
    for params in ({}, {"clusterId": CLUSTER}):
        _, body, _ = await http.call("list_orphans", params=params)
        assert ([one["name"] for one in body["orphans"]], body["truncated"]) == (["sc-lost-secret"], False)
    _, body, _ = await http.call("get_orphan", orphanId=orphan.orphan_id.upper())
    assert (body["rule"], body["evidence"], body["prune"]) == ("no-record", dict(orphan.evidence), None)
    status, opened, headers = await http.call("prune_orphan", orphanId=orphan.orphan_id)
    assert (status, headers["Location"]) == (202, f"{SITE}/api/operations/{opened['operationId']}")
    _, body, _ = await http.call("get_orphan", orphanId=orphan.orphan_id)
    assert body["prune"] == f"{SITE}/api/prunes/{opened['operationId']}"
    status, body, _ = await http.call("list_orphans", params={"clusterId": "x y"})
    assert (status, body["code"]) == (400, "invalid-id")
    app.world.remove(CLUSTER)
    status, body, _ = await http.call("prune_orphan", orphanId=orphan.orphan_id)
    assert (status, body["code"]) == (410, "orphan-gone")


async def test_an_orphan_that_is_none_is_not_found(app: LocalApp):
    for function in ("get_orphan", "prune_orphan"):
        status, body, _ = await HttpApp(app).call(function, orphanId="a/b#?")
        assert (status, body["code"]) == (404, "not-found")


async def test_a_prune_from_before_rules_were_recorded_can_still_be_read(app: LocalApp):
    prune = await our_prune(app)
    snapshot = await app.services.state.load(prune.operation_id)
    assert snapshot is not None
    step = snapshot.steps["settings"].value.model_copy(update={"outputs": {"kept": ["Secret shop/x"]}})
    await app.services.state.save_step(snapshot, step)
    said = [one["detail"] for one in (await record(app, prune))["objects"] if one["outcome"] == "kept"]
    assert said == ["Secret shop/x"]


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


async def test_the_open_operations_are_listed_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    app, held = await held_by_cap(tmp_path)
    _, body, _ = await HttpApp(app).call("find_operations")
    assert ([one["id"] for one in body["operations"]], body["truncated"]) == ([held[0].operation_id], False)
    monkeypatch.setattr(http_operations, "LIST_LIMIT", 0)
    _, body, _ = await HttpApp(app).call("find_operations")
    assert (body["operations"], body["truncated"]) == ([], True)
