"""Connections by a key: what is found before, after a rotation, in a prune; and that no key is ever kept."""

from __future__ import annotations

import base64
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import naming, setting_values
from shared.catalogue import catalogue
from shared.errors import MooringError, PermanentError, TransientError
from shared.ports import Lock
from shared.steps.base import LABEL_CONNECTION
from shared.steps.keys import UNTOLD
from tests.fakes.by_key import (
    ID,
    KEY,
    NAME,
    ROTATED,
    SETTING,
    body,
    created,
    failed,
    get,
    keyed_app,
    keys,
    lost,
    secret,
    stored,
    validated,
)
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, delete_body, deletion_event
from tests.fakes.looks import spec_of
from tests.fakes.recoveries import lose_tables, outcomes, recovered
from tests.fakes.sweeps import swept


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return keyed_app(tmp_path)


# --- what is found before anything is made ------------------------------------------------------------


async def refused(app: LocalApp) -> Any:
    await app.send(body())
    await app.settle()
    last = (await app.operations(ID))[-1]
    assert last.state.value == "failed"
    assert app.leftovers()["objects"] == []
    return last


async def test_an_account_that_takes_no_keys_is_found_with_the_command(app: LocalApp):
    properties = app.world.resources[naming.fold_id(STORAGE)]["properties"]
    properties["allowSharedKeyAccess"] = False
    last = await refused(app)
    assert last.code == "target-keys-off"
    assert f"az storage account update --ids {STORAGE} --allow-shared-key-access true" in last.remedy


async def test_an_app_without_the_right_to_keys_is_told_which_role_it_lacks(app: LocalApp):
    app.resources.may_list_keys = False
    last = await refused(app)
    assert (last.code, "infra/roles/keys.json" in last.remedy) == ("keys-not-allowed", True)


async def test_a_readonly_lock_keeps_the_key_and_is_said(app: LocalApp):
    lock = Lock(resource_id=f"{STORAGE}/x", scope=STORAGE, name="x", level="ReadOnly")
    app.world.locks.append(lock)
    assert (await refused(app)).code == "scope-locked"


async def test_a_target_that_goes_between_two_looks_is_not_found(app: LocalApp):
    del app.world.keys[naming.fold_id(STORAGE)]
    assert (await refused(app)).code == "target-not-found"


def test_no_key_of_a_connection_by_a_key_counts_as_harmless():
    spec = spec_of(authType="secret", additionalSettings={"LEVEL": "info"})
    assert setting_values.harmless(catalogue().find("storage-blob"), spec) == frozenset()


async def test_an_answer_without_the_key_is_no_key(app: LocalApp):
    app.world.keys[naming.fold_id(STORAGE)] = {"keys": [{"keyName": "key2", "value": KEY}]}
    last = await refused(app)
    assert last.code == "key-missing"
    assert KEY not in stored(app)


class HostDiedError(BaseException):
    """As if the process had ended."""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("error", [TransientError("service-error", "busy"), HostDiedError()], ids=repr)
async def test_a_broken_fetch_is_made_again_and_leaves_nothing_behind(
    app: LocalApp, error: BaseException, number: int, moment: str
):
    left = [number]

    def rule(call: Call) -> BaseException | None:
        left[0] -= call.name == "resources.list_keys"
        return error if call.name == "resources.list_keys" and left[0] == 0 else None

    setattr(app.journal, moment, rule)
    await app.send(body())
    for _ in range(3):
        with contextlib.suppress(HostDiedError):
            await app.settle()
    assert left[0] < 0, "the call was made again"
    assert await app.state(ID) == "configured"
    assert KEY in secret(app).data[SETTING]
    assert KEY not in stored(app)


@pytest.mark.parametrize("form", [str, lambda one: base64.b64encode(one.encode()).decode()])
@pytest.mark.parametrize("kind", [PermanentError, TransientError])
async def test_an_answer_that_quotes_the_key_is_not_told(
    app: LocalApp, kind: type[MooringError], form: Callable[[str], str], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    account = naming.fold_id(STORAGE).rsplit("/", 1)[-1]
    value = f"DefaultEndpointsProtocol=https;AccountName={account};AccountKey={KEY}"

    def rule(call: Call) -> BaseException | None:
        quoting = kind("kubernetes-error", f"admission webhook denied {form(value)}")
        return quoting if call.name == "clusters.create" else None

    app.journal.before = rule
    await app.send(body())
    await app.settle()
    step = next(one for one in (await shown(app))["steps"] if one["name"] == "settings")
    assert step["detail"].endswith(UNTOLD)
    for text in (stored(app), caplog.text):
        assert form(value)[:40] not in text


async def shown(app: LocalApp) -> Any:
    return await get(app, "get_operation", operationId=(await app.operations(ID))[-1].operation_id)


# --- after it was made ------------------------------------------------------------------------------


async def test_a_rotated_key_fails_the_validation_and_a_repair_writes_the_new_one(app: LocalApp):
    await created(app)
    assert failed(await validated(app)) == {}
    app.world.keys[naming.fold_id(STORAGE)] = keys(ROTATED)
    assert failed(await validated(app, "after")) == {"settings-keys": f"wrong: {SETTING}"}
    await app.send({"action": "repair", "connectionId": ID}, message_id="repair")
    await app.settle()
    assert ROTATED in secret(app).data[SETTING]
    assert failed(await validated(app, "mended")) == {}


async def test_a_validation_that_may_not_see_the_key_says_so(app: LocalApp):
    await created(app)
    app.resources.may_list_keys = False
    finding = (await validated(app))["settings-keys"]
    assert (finding["result"], finding["detail"].split(":")[0]) == ("failed", "keys-not-allowed")
    assert "infra/roles/keys.json" in finding["remedy"]


async def test_a_sweep_compares_what_is_no_key_and_fetches_none(app: LocalApp):
    await created(app, clientType="springBoot")
    assert "drift" not in (await swept(app))["totals"]
    thing, before = secret(app), len(app.journal.calls)
    thing.data["spring.cloud.azure.storage.blob.endpoint"] = "https://elsewhere/"
    thing.resource_version = str(app.world.number())
    assert (await swept(app))["totals"]["drift"] == {"values-edited": 1}
    del thing.labels[LABEL_CONNECTION]
    assert (await swept(app))["totals"]["drift"]["object-edited"] == 1
    assert "resources.list_keys" not in {call.name for call in app.journal.calls[before:]}


async def test_a_prune_takes_the_secret_reads_no_value_and_says_that_it_cannot_be_restored(app: LocalApp):
    await created(app)
    app.clusters.put_pod(
        CLUSTER, "shop", "reader", {"containers": [{"envFrom": [{"secretRef": {"name": NAME}}]}]}
    )
    prune = await lost(app)
    shown = await get(app, "get_prune", pruneId=prune)
    assert (shown["state"], shown["waiting"]) == ("held", "in-use")
    assert "can be restored: no, it holds a key of the target" in shown["detail"]
    app.clusters.remove_pod(CLUSTER, "shop", "reader")
    before = len(app.journal.calls)
    await app.settle(seconds=600)
    reads = [call for call in app.journal.calls[before:] if call.name == "clusters.get"]
    assert reads
    assert not [call for call in reads if call.options.get("values")]
    assert (await app.state(ID), app.leftovers()["objects"]) == ("pruned", [])
    shown = await get(app, "get_prune", pruneId=prune)
    [saved] = shown["saved"]
    assert (saved["restorable"], saved["keys"], saved["why"]) == ("no", [], "it holds a key of the target")
    assert shown["restore"] is None


async def test_a_lost_cluster_leaves_nothing_to_keep_for_a_rebuild(app: LocalApp):
    await created(app)
    app.world.remove(CLUSTER)
    app.queue.put("resource-events", deletion_event(CLUSTER))
    await app.settle(seconds=600)
    assert await app.state(ID) == "pruned"
    [operation] = [one for one in await app.operations(ID) if one.kind.value == "prune"]
    assert [step.name for step in operation.plan] == ["confirm_gone", "verify_gone"]


async def test_a_recovery_believes_no_secret_alone_and_the_create_takes_it_back(app: LocalApp):
    await created(app)
    uid = secret(app).uid
    assert KEY not in repr(secret(app).annotations)
    lose_tables(app)
    assert outcomes(await recovered(app)) == {"orders-blob": "connected-by-key"}
    await app.send(body(), message_id="again")
    await app.settle()
    assert (await app.state(ID), secret(app).uid) == ("configured", uid)


async def test_no_table_queue_log_or_answer_ever_holds_a_key(app: LocalApp, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    answers = []
    await app.send(body(clientType="springBoot"))
    answers.append(await get(app, "plan_connection", body=body()))
    await app.settle()
    answers.append(await validated(app))
    app.world.keys[naming.fold_id(STORAGE)] = keys(ROTATED)
    answers.append(await validated(app, "again"))
    await app.send({"action": "repair", "connectionId": ID}, message_id="repair")
    await app.settle()
    await swept(app)
    routes = ("get_connection", "get_configuration", "get_manifest")
    answers += [await get(app, route, connectionId=ID) for route in routes]
    assert ROTATED in repr(secret(app).data)
    prune = await lost(app)
    answers.append(await get(app, "get_prune", pruneId=prune))
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    calls = repr([call for call in app.journal.calls if not call.name.startswith("clusters.")])
    for text in (stored(app), repr(answers), caplog.text, calls):
        for key in (KEY, ROTATED):
            assert key not in text
            assert key[:16] not in text
