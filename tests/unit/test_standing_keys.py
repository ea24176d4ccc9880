"""A target that an update asked for and never wrote settings for takes no key to what pods are still on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError, TransientError
from shared.inscription import ANNOTATION_REQUEST
from shared.models import Kind, Operation
from shared.steps import standing_access
from shared.steps.base import ANNOTATION_NONCE
from tests.fakes.by_key import ID, body, created, keyed_app, secret
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, delete_body, deletion_event
from tests.fakes.sweeps import swept

ORDERS, OTHER, THIRD = (
    f"{STORAGE}/blobServices/default/containers/{name}" for name in ("orders", "other", "third")
)
ELSEWHERE = f"{STORAGE}2/blobServices/default/containers/orders"


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    made = keyed_app(tmp_path)
    made.world.add_resource(f"{naming.ancestors(STORAGE)[-1].rpartition('/')[0]}/canary")
    for resource_id in (ORDERS, OTHER, THIRD, ELSEWHERE):
        made.world.add_resource(resource_id, {"properties": {}})
    return made


def blob(resource_id: str) -> dict[str, Any]:
    return {"type": "storage-blob", "id": resource_id}


def refused(call: Call) -> BaseException | None:
    writes = call.name in {"clusters.apply", "clusters.create"}
    return PermanentError("denied-by-admission", "no") if writes else None


async def asked(
    app: LocalApp, wanted: dict[str, Any], before: Callable[[Call], BaseException | None] | None = None
) -> str:
    """Send a request; returns how its operation ended."""
    app.journal.before = before
    record = await app.send(wanted, message_id=f"request-{len(app.journal.calls)}")
    await app.settle()
    app.journal.before = None
    [ended] = [one for one in await app.operations(ID) if one.operation_id == record.operation_id]
    return ended.code


async def updated(
    app: LocalApp, target_id: str, before: Callable[[Call], BaseException | None] | None = refused
) -> str:
    return await asked(app, {**body(target=blob(target_id)), "action": "update"}, before)


async def gone(app: LocalApp, *resource_ids: str) -> Operation:
    """Delete them, and let a sweep find it; returns the prune of it."""
    for resource_id in resource_ids:
        app.world.remove(resource_id)
    await swept(app)
    await app.settle(seconds=3600)
    return [one for one in await app.operations(ID) if one.kind is Kind.PRUNE][-1]


async def test_a_target_that_settings_were_only_meant_for_takes_no_key_to_what_is_there(app: LocalApp):
    await created(app, target=blob(ORDERS))
    assert await updated(app, OTHER) == "denied-by-admission"
    prune = await gone(app, OTHER)
    assert (prune.code, await app.state(ID)) == ("resource-alive", "failed")
    assert f"access to {ORDERS}" in prune.detail
    assert "update again" in prune.remedy
    assert secret(app)


@pytest.mark.parametrize("with_it", [ORDERS, STORAGE])
async def test_what_is_gone_as_well_lets_the_prune_go_on(app: LocalApp, with_it: str):
    await created(app, target=blob(ORDERS))
    await updated(app, OTHER)
    assert (await gone(app, OTHER, with_it)).code == ""
    assert (await app.state(ID), app.leftovers()["objects"]) == ("pruned", [])


async def test_each_day_a_sweep_tries_again_and_the_hold_ends_with_what_it_is_for(app: LocalApp):
    await created(app, target=blob(ORDERS))
    await updated(app, OTHER)
    first = await gone(app, OTHER)
    app.clock.advance(86400)
    again = await gone(app)
    assert (first.code, again.code) == ("resource-alive", "resource-alive")
    assert again.operation_id != first.operation_id
    app.clock.advance(86400)
    assert (await gone(app, ORDERS)).code == ""
    assert await app.state(ID) == "pruned"


async def test_settings_of_two_updates_ago_hold_where_no_update_came_to_write(app: LocalApp):
    await created(app, target=blob(ORDERS))
    await updated(app, OTHER)
    await updated(app, THIRD)
    prune = await gone(app, THIRD, OTHER)
    assert (prune.code, ORDERS in prune.detail) == ("resource-alive", True)


@pytest.mark.parametrize("again", ["update", "repair"])
async def test_what_finished_holds_by_nothing_of_before_and_its_prune_looks_at_no_settings(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch, again: str
):
    await created(app, target=blob(ORDERS))
    await updated(app, OTHER)
    if again == "update":
        await updated(app, OTHER, None)
    else:
        await asked(app, {**delete_body(), "action": "repair"})
    assert await app.state(ID) == "configured"
    monkeypatch.delattr(standing_access, "_told")
    assert (await gone(app, OTHER)).code == ""
    assert await app.state(ID) == "pruned"


async def test_settings_whose_answer_was_lost_are_for_what_is_written_in_them(app: LocalApp):
    await created(app, target=blob(ORDERS))

    def unanswered(call: Call) -> BaseException | None:
        return TransientError("connection-failed", "no answer") if call.name == "clusters.apply" else None

    app.journal.after = unanswered
    assert await updated(app, OTHER, None) != ""
    app.journal.after = None
    assert naming.fold_id(OTHER) in secret(app).annotations[ANNOTATION_REQUEST].lower()
    assert (await gone(app, OTHER)).code == ""


async def test_a_late_event_of_the_part_of_before_holds_nothing_once_both_are_gone(app: LocalApp):
    await created(app, target=blob(ORDERS))
    await updated(app, OTHER)
    app.world.remove(OTHER)
    await app.services.events.receive(deletion_event(ORDERS))
    await app.settle(seconds=3600)
    [prune] = [one for one in await app.operations(ID) if one.kind is Kind.PRUNE]
    assert (prune.code, bool(secret(app))) == ("resource-alive", True)
    assert (await gone(app, ORDERS)).code == ""


async def test_a_first_create_that_wrote_nothing_holds_no_prune(app: LocalApp):
    await asked(app, body(target=blob(ORDERS)), refused)
    assert await app.state(ID) == "failed"
    assert (await gone(app, ORDERS)).code == ""
    assert await app.state(ID) == "pruned"


def away(app: LocalApp) -> None:
    app.world.clusters[naming.fold_id(CLUSTER)].objects.clear()


def another(app: LocalApp) -> None:
    secret(app).uid = "put-back-by-a-backup"


def bare(app: LocalApp) -> None:
    secret(app).annotations.pop(ANNOTATION_REQUEST)


def told(**changes: str) -> Callable[[LocalApp], None]:
    def tell(app: LocalApp) -> None:
        known = json.loads(secret(app).annotations[ANNOTATION_REQUEST])
        secret(app).annotations[ANNOTATION_REQUEST] = json.dumps({**known, **changes})

    return tell


@pytest.mark.parametrize(
    "change",
    [
        away,
        another,
        bare,
        told(target_id=ELSEWHERE),
        told(target_id=f"{STORAGE}/fileServices/default"),
        told(target_type="storage-queue"),
    ],
)
async def test_what_is_not_ours_or_tells_of_nothing_that_an_update_leads_to_holds_no_prune(
    app: LocalApp, change: Callable[[LocalApp], None]
):
    await created(app, target=blob(ORDERS))
    await updated(app, OTHER)
    change(app)
    assert (await gone(app, OTHER)).code == ""


async def test_settings_whose_first_write_was_never_answered_are_known_by_their_nonce(app: LocalApp):
    def unanswered(call: Call) -> BaseException | None:
        return PermanentError("denied-by-admission", "no") if call.name == "clusters.create" else None

    app.journal.after = unanswered
    await asked(app, body(target=blob(ORDERS)))
    app.journal.after = None
    await updated(app, OTHER)
    assert (await gone(app, OTHER)).code == "resource-alive"
    secret(app).annotations[ANNOTATION_NONCE] = "another"
    app.clock.advance(86400)
    assert (await gone(app)).code == ""
    assert secret(app), "not proven ours"


async def test_a_cluster_that_is_gone_holds_no_prune(app: LocalApp):
    await created(app, target=blob(ORDERS))
    await updated(app, OTHER)

    def lost(call: Call) -> BaseException | None:
        return PermanentError("cluster-gone", CLUSTER) if call.name == "clusters.get" else None

    app.journal.before = lost
    assert (await gone(app, OTHER)).code == ""


async def test_settings_that_may_not_be_looked_at_fail_the_prune(app: LocalApp):
    await created(app, target=blob(ORDERS))
    await updated(app, OTHER)

    def denied(call: Call) -> BaseException | None:
        return PermanentError("kubernetes-access-denied", "no") if call.name == "clusters.get" else None

    app.journal.before = denied
    assert (await gone(app, OTHER)).code == "kubernetes-access-denied"
    app.journal.before = None
    assert secret(app)
