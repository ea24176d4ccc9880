"""What is not put back: what may hold a credential, and what the prune or the policy does not allow."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.errors import RefusedError
from shared.ports import Remove
from shared.steps.saving import LAST_APPLIED
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    POLICY,
    STORAGE,
    LocalApp,
    create_body,
    deletion_event,
    make_app,
)
from tests.unit.test_restore import (
    LINKER,
    OURS,
    SECRET,
    THEIRS,
    VALUES,
    created,
    lost,
    observed,
    our_prune,
    outputs,
    pruned,
    restore,
    secret,
)


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


# --- what a secret may not hold ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({**VALUES, "AZURE_STORAGEBLOB_CONNECTIONSTRING": "x"}, "does not know 1 of its keys"),
        ({**VALUES, "AZURE_STORAGEBLOB_RESOURCEENDPOINT": "Endpoint=sb://x;AccountKey=abc"}, "looks like"),
        ({**VALUES, "AZURE_STORAGEBLOB_RESOURCEENDPOINT": "https://me:pass@host/"}, "looks like"),
    ],
)
async def test_a_value_that_may_be_a_credential_is_nowhere_on_record(
    app: LocalApp, data: dict[str, str], why: str
):
    prune = await pruned(app, data=data)
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert (saved.restorable, saved.data) == (False, {})
    assert why in saved.why
    rows = str([row.columns for table in ("prunes", "connections") for row in app.store.rows(table)])
    assert "AccountKey=" not in rows
    assert "me:pass" not in rows
    done = await restore(app, prune)
    [kept] = (await outputs(app, done))["kept"]
    assert (kept["rule"], kept["restorable"]) == ("not-restorable", "no")
    assert await secret(app) is None


async def test_a_secret_of_a_connection_that_was_not_seen_to_use_an_identity_is_not_saved(app: LocalApp):
    await observed(app)
    row = await app.services.state.connection(THEIRS)
    assert row is not None
    intents = await app.services.state.intents(THEIRS)
    preflight = intents["settings"].model_copy(
        update={"step": "preflight", "outputs": {"auth": "secret"}, "planned": {}, "previous": ()}
    )
    await app.services.state.observe(row.value, [preflight], etag=row.etag)
    prune = await lost(app)
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert saved.why == "its connection may have held a credential"


@pytest.mark.parametrize(
    ("secret_type", "size", "why"),
    [
        ("kubernetes.io/tls", 1, "its type is kubernetes.io/tls"),
        ("Opaque", 17_000, "more than 16000"),
    ],
)
async def test_a_secret_of_another_type_or_of_great_size_is_not_saved(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch, secret_type: str, size: int, why: str
):
    await observed(app, data={**VALUES, "AZURE_STORAGEBLOB_CLIENTID": "c" * size})
    real = app.clusters.get

    async def typed(*args: Any, **options: Any) -> Any:
        found = await real(*args, **options)
        return dataclasses.replace(found, secret_type=secret_type) if found and found.data else found

    monkeypatch.setattr(app.clusters, "get", typed)
    prune = await lost(app)
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert (saved.restorable, saved.data) == (False, {})
    assert why in saved.why


async def test_a_secret_that_changes_while_it_is_looked_at_is_not_saved(app: LocalApp):
    await observed(app)

    def rule(call: Call) -> BaseException | None:
        if call.options.get("values"):
            stored = app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", SECRET]
            stored.uid = "another"
        return None

    app.journal.before = rule
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=60)
    [prune] = await app.operations(THEIRS)
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert (saved.why, saved.data) == ("it changed while it was looked at", {})
    assert await secret(app) is not None, "and it is not removed"


async def test_a_secret_for_a_target_that_the_catalogue_lacks_is_not_saved(app: LocalApp):
    await observed(app)
    row = await app.services.state.connection(THEIRS)
    assert row is not None
    spec = row.value.spec.model_copy(update={"target_type": "unknown"})
    await app.services.state.observe(row.value.model_copy(update={"spec": spec}), [], etag=row.etag)
    prune = await lost(app)
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert saved.why == "the catalogue has no target type unknown"


async def test_kubectls_copy_of_a_secret_is_not_saved(app: LocalApp):
    await observed(app)
    annotations = {
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "team": "shop",
        "long": "x" * 600,
    }
    app.clusters.put_object(CLUSTER, "Secret", "shop", SECRET, annotations=annotations, data=VALUES)
    prune = await lost(app)
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert saved.annotations == {"team": "shop"}
    assert saved.left_out == (LAST_APPLIED, "long")


# --- what is refused -----------------------------------------------------------------------------


async def refusal(app: LocalApp, prune_id: str) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        await app.services.restorer.restore(prune_id, key="k")  # type: ignore[arg-type]
    return caught.value


async def test_what_is_no_prune_is_not_found(app: LocalApp):
    await created(app)
    [create] = await app.operations(OURS)
    assert (await refusal(app, create.operation_id)).code == "not-found"
    assert (await refusal(app, f"{OURS}-000000000000")).code == "not-found"


async def test_a_prune_that_has_not_ended_is_not_undone(app: LocalApp):
    client_id = await observed(app)
    spec = {"serviceAccountName": f"sc-account-{client_id}", "containers": []}
    app.clusters.put_pod(CLUSTER, "shop", "user", spec)
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=100)
    [prune] = await app.operations(THEIRS)
    assert prune.state == "held"
    assert (await refusal(app, prune.operation_id)).code == "not-restorable"


async def test_a_prune_that_saved_nothing_or_nothing_whole_is_not_undone(app: LocalApp):
    prune = await pruned(app, data={"unknown": "x"})
    for row in app.store.rows("prunes"):
        if row.columns.get("kind") == "ServiceAccount":
            await app.store.transact("prunes", row.partition, [_remove(row.key)])
    assert "does not know" in (await refusal(app, prune.operation_id)).detail
    for row in app.store.rows("prunes"):
        if row.columns.get("kind") == "Secret":
            await app.store.transact("prunes", row.partition, [_remove(row.key)])
    assert "removed nothing" in (await refusal(app, prune.operation_id)).detail


def _remove(key: str) -> Any:
    return Remove(key=key)


async def test_a_prune_of_an_earlier_life_is_not_undone(app: LocalApp):
    prune = await our_prune(app)
    app.world.add_resource(STORAGE, {"properties": {"primaryEndpoints": {"blob": "https://orders/"}}})
    await app.send(create_body(), message_id="again")
    await app.settle()
    refused = await refusal(app, prune.operation_id)
    assert refused.code == "not-restorable"
    assert "anew" in refused.detail


async def test_a_report_has_nothing_to_undo(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_MODE="report")
    await observed(app)
    app.world.remove(LINKER)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle(seconds=600)
    [prune] = await app.operations(THEIRS)
    assert "only reported" in (await refusal(app, prune.operation_id)).detail
    assert await app.services.prunes.saved(prune.operation_id) == []


@pytest.mark.parametrize(
    ("policy", "code"),
    [("nonsense", "policy-unreadable"), (POLICY.replace('["*"]', '["other"]'), "policy-denied")],
)
async def test_nothing_is_put_back_where_the_policy_does_not_say_so(app: LocalApp, policy: str, code: str):
    prune = await pruned(app)
    app.policy_file.write_text(policy)
    assert (await refusal(app, prune.operation_id)).code == code


async def test_a_cluster_of_another_life_gets_nothing_of_the_old_one(app: LocalApp):
    prune = await our_prune(app)
    app.world.remove(CLUSTER)
    app.world.add_cluster(CLUSTER, namespaces=("shop",), issuer="https://another")
    done = await restore(app, prune)
    assert (done.state, done.code) == ("failed", "not-restorable")
    assert await app.state(OURS) == "pruned"
    app.world.remove(CLUSTER)
    assert (await restore(app, prune, "k2")).code == "cluster-not-found"


async def test_without_its_namespace_nothing_is_put_back(app: LocalApp):
    prune = await pruned(app)
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.discard("shop")
    done = await restore(app, prune)
    assert (done.state, done.code) == ("failed", "namespace-missing")


@pytest.mark.parametrize(("value", "labels"), [('"' * 9_000, 0), ("v", 300)])
async def test_what_would_not_fit_into_a_row_is_not_saved_and_the_object_is_pruned(
    app: LocalApp, value: str, labels: int
):
    """A row holds 32 K characters, and quotes are stored as two."""
    await observed(app, data={**VALUES, "AZURE_STORAGEBLOB_CLIENTID": value})
    stored = app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", "sc-theirs-secret"]
    stored.labels.update({f"{'l' * 60}{number}": "v" * 63 for number in range(labels)})
    prune = await lost(app)
    assert prune.state == "succeeded"
    [saved] = [one for one in await app.services.prunes.saved(prune.operation_id) if one.kind == "Secret"]
    assert "more than 16000" in saved.why
    assert len(saved.model_dump_json()) < 16_000
