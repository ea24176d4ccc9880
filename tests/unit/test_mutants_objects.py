"""Who uses a cluster object, and whether it went with its cluster (docs/reference/mutation.md)."""

import dataclasses
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from shared import naming
from shared.clients.kube_uses import USERS
from shared.errors import MooringError, NotYetError, PermanentError
from shared.models import ConnectionId, Kind, Plan
from shared.steps.base import ANNOTATION_KEEP, ANNOTATION_NONCE, LABEL_MANAGED_BY, SETTLED_AT
from shared.steps.objects import USE_LISTS, cluster_lost, hold_if_used, remove_object, used
from shared.steps.removal import OUTPUT_CHARACTERS, Removal, forget, leave
from tests.fakes.azure_world import StoredObject
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.step_bench import Bench


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


def the_secret(bench: Bench) -> StoredObject:
    objects = bench.app.world.clusters[naming.fold_id(CLUSTER)].objects
    [found] = [one for key, one in objects.items() if key[0] == "Secret"]
    return found


def unlisted(code: str) -> Callable[[Call], MooringError | None]:
    return lambda call: PermanentError(code, "why") if call.name == "clusters.list_uses" else None


def test_what_a_look_says_that_it_listed_is_what_is_listed():
    assert set(USE_LISTS) == set(USERS)


async def test_a_prune_that_may_not_list_looks_again_when_a_hold_does(bench: Bench):
    bench.become(Kind.PRUNE)
    bench.rules = dataclasses.replace(bench.rules, hold_recheck_seconds=7.0)
    bench.app.journal.before = unlisted("kubernetes-access-denied")
    with pytest.raises(NotYetError, match="why") as waits:
        await hold_if_used(bench.context("settings"), "Secret", bench.intents["settings"].plans()[0])
    assert (waits.value.reason, waits.value.seconds) == ("uses-unknown", 7.0)


async def test_nobody_uses_anything_in_a_cluster_that_is_gone(bench: Bench):
    bench.become(Kind.PRUNE)
    bench.app.journal.before = unlisted("cluster-gone")
    found = await hold_if_used(bench.context("settings"), "Secret", bench.intents["settings"].plans()[0])
    assert found["users"] == 0


async def test_what_was_asked_for_by_name_is_not_held_by_what_cannot_be_listed(bench: Bench):
    bench.become(Kind.DELETE)
    name = str(bench.intents["settings"].planned["name"])
    thing = await bench.app.clusters.get(CLUSTER, "Secret", "shop", name)
    assert thing is not None
    bench.app.journal.before = unlisted("kubernetes-access-denied")
    with pytest.raises(PermanentError, match="kubernetes-access-denied"):
        await used(bench.context("verify_gone"), "Secret", thing)


async def lost(bench: Bench) -> bool:
    """Whether the secret went with its cluster, by an object id that nobody has recorded."""
    plan = bench.intents["settings"].plans()[0].model_copy(update={"outputs": {"uid": "u"}})
    plan = plan.model_copy(update={"planned": {**plan.planned, "nonce": ""}})
    return await cluster_lost(bench.context("settings"), "Secret", plan)


def rebuild(bench: Bench, issuer: str = "https://issuer.example/new/") -> None:
    cluster = bench.app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, issuer=issuer)


async def test_an_object_went_with_its_cluster_if_another_or_none_stands_there(bench: Bench):
    bench.become(Kind.PRUNE)
    assert not await lost(bench)
    rebuild(bench)
    assert await lost(bench)
    del bench.app.world.clusters[naming.fold_id(CLUSTER)]
    assert await lost(bench)


async def test_nothing_went_with_a_cluster_whose_issuer_was_never_recorded(bench: Bench):
    rebuild(bench)
    bench.become(Kind.PRUNE)
    known = bench.intents["preflight"]
    bench.intents["preflight"] = known.model_copy(update={"outputs": {}})
    assert not await lost(bench)
    del bench.intents["preflight"]
    assert not await lost(bench)


async def test_a_delete_does_not_ask_what_became_of_the_cluster(bench: Bench):
    rebuild(bench)
    bench.become(Kind.DELETE)
    assert not await lost(bench)


async def test_a_cluster_whose_issuer_is_off_is_no_other_cluster(bench: Bench):
    rebuild(bench, issuer="")
    bench.become(Kind.PRUNE)
    assert not await lost(bench)


async def test_an_empty_nonce_proves_nothing(bench: Bench):
    known = bench.intents["settings"]
    bench.intents["settings"] = known.model_copy(
        update={"planned": {**known.planned, "nonce": ""}, "outputs": {}}
    )
    there = the_secret(bench)
    there.annotations[ANNOTATION_NONCE] = ""
    bench.become(Kind.DELETE)
    assert [one["rule"] for one in (await bench.revert("settings")).outputs["kept"]] == ["not-proven-ours"]
    rebuild(bench)
    bench.become(Kind.PRUNE)
    plan = bench.intents["settings"].plans()[0]
    assert await cluster_lost(bench.context("settings"), "Secret", plan), "nor that it was written since"


async def removed(
    bench: Bench, kind: str, name: str, *, known: Mapping[str, Any] | None = None, **planned: str
) -> Removal:
    """What becomes of an object that is put under a name and has the nonce of the plan, or of ``known``."""
    plan = Plan(planned={"namespace": "shop", "name": name, **planned})
    there = bench.app.clusters.put_object(CLUSTER, kind, "shop", name)
    nonce = planned.get("nonce") or str((known or {})["nonce"])
    stored = bench.app.world.clusters[naming.fold_id(CLUSTER)].objects[kind, "shop", name]
    stored.annotations[ANNOTATION_NONCE] = nonce
    stored.labels.pop(LABEL_MANAGED_BY, None)
    removal = Removal()
    assert there.uid
    await remove_object(bench.context("settings"), removal, kind, plan, known=known)
    return removal


@pytest.mark.parametrize(
    ("operation", "kind", "rule"),
    [
        (Kind.PRUNE, "ServiceAccount", "protected-object"),
        (Kind.DELETE, "ServiceAccount", ""),
        (Kind.PRUNE, "Secret", "mark-removed"),
    ],
)
async def test_only_a_prune_keeps_the_account_that_every_namespace_needs(
    bench: Bench, operation: Kind, kind: str, rule: str
):
    bench.become(operation)
    removal = await removed(bench, kind, "default", provenance="created", nonce="n")
    assert [one["rule"] for one in removal.kept] == [rule] * bool(rule)
    if rule == "mark-removed":
        assert (
            removal.kept[0]["uid"]
            == bench.app.world.clusters[naming.fold_id(CLUSTER)].objects[kind, "shop", "default"].uid
        )


async def test_what_is_proven_by_another_connections_nonce_and_has_no_mark_any_more_is_kept(bench: Bench):
    bench.become(Kind.PRUNE)
    removal = await removed(bench, "ServiceAccount", "a", known={"nonce": "n"}, provenance="observed")
    assert [one["rule"] for one in removal.kept] == ["mark-removed"]


async def test_what_we_made_and_somebody_took_mark_and_nonce_off_is_kept(bench: Bench):
    there = the_secret(bench)
    del there.labels[LABEL_MANAGED_BY], there.annotations[ANNOTATION_NONCE]
    bench.become(Kind.PRUNE)
    [kept] = (await bench.revert("settings")).outputs["kept"]
    assert (kept["rule"], kept["uid"]) == ("mark-removed", there.uid)


async def test_what_went_with_its_cluster_says_so(bench: Bench):
    bench.become(Kind.DELETE)
    gone = PermanentError("cluster-gone", "x")
    bench.app.journal.before = lambda call: gone if call.name == "clusters.get" else None
    [said] = (await bench.revert("settings")).outputs["removed"]
    assert (said["rule"], said["found"]) == ("cluster-gone", False)


@pytest.mark.parametrize(("provenance", "restorable"), [("created", "yes"), ("observed", "no")])
async def test_what_was_not_made_by_mooring_may_hold_a_key_and_is_not_saved(
    bench: Bench, provenance: str, restorable: str
):
    known = bench.intents["settings"]
    bench.intents["settings"] = known.model_copy(
        update={"planned": {**known.planned, "provenance": provenance}}
    )
    seen = bench.intents["preflight"]
    bench.intents["preflight"] = seen.model_copy(update={"outputs": {**seen.outputs, "auth": "secret"}})
    bench.become(Kind.PRUNE)
    [said] = (await bench.revert("settings")).outputs["removed"]
    assert said["restorable"] == restorable


NEEDED_LATER = (
    "apiVersion clientId database found grant host id identityId issuer kind mark name namespace nonces"
    " objectId provenance restorable role rule scope serverId subject thing tokenScope uid workload"
)


def test_what_later_steps_need_of_an_item_outlives_the_cut_to_a_rows_size():
    removal = Removal()
    removal.keep({**dict.fromkeys(NEEDED_LATER.split(), "x"), "detail": "y" * OUTPUT_CHARACTERS}, "x")
    outputs = removal.done().outputs
    assert outputs["trimmed"]
    assert " ".join(sorted(outputs["kept"][0])) == NEEDED_LATER


@pytest.mark.parametrize(
    ("recorded", "rule", "detail"),
    [("u-1", "object-changed", "recorded uid u-1"), ("", "not-proven-ours", "")],
)
async def test_what_is_kept_because_it_is_another_names_both(
    bench: Bench, recorded: str, rule: str, detail: str
):
    known = bench.intents["settings"]
    bench.intents["settings"] = known.model_copy(update={"outputs": {"uid": recorded} if recorded else {}})
    there = the_secret(bench)
    there.annotations[ANNOTATION_NONCE] = "another"
    bench.become(Kind.DELETE)
    [kept] = (await bench.revert("settings")).outputs["kept"]
    assert (kept["rule"], kept.get("detail", ""), kept["uid"]) == (rule, detail, there.uid)


async def test_who_leaves_a_thing_to_others_waits_until_what_it_overtook_has_settled(bench: Bench):
    bench.become(Kind.DELETE)
    settled_at = bench.app.clock.now() + timedelta(seconds=20)
    bench.done["quiesce"] = {SETTLED_AT: settled_at.isoformat()}
    ctx = bench.context("role_assignments")
    other = ctx.user.model_copy(update={"connection_id": ConnectionId("other")})
    for user in (ctx.user, other):
        await ctx.users.join("role|x", user, settled=ctx.recorder.settled)
    with pytest.raises(NotYetError, match="settle") as waits:
        await leave(ctx, "role|x")
    assert waits.value.seconds == 20.0


def test_an_item_has_no_detail_unless_it_is_given():
    removal = Removal()
    removal.remove({}, "r")
    removal.keep({}, "r")
    removal.say({}, "r")
    assert removal.removed == removal.kept == [{"rule": "r"}]
    assert removal.would == [{"rule": "r", "act": "delete"}]


@pytest.mark.parametrize(("provenance", "back"), [("created", "yes"), ("observed", "no, its connection")])
async def test_what_is_held_says_whether_it_could_be_put_back(bench: Bench, provenance: str, back: str):
    known = bench.intents["settings"]
    planned = {**known.planned, "provenance": provenance}
    bench.intents["settings"] = known.model_copy(update={"planned": planned})
    seen = bench.intents["preflight"]
    bench.intents["preflight"] = seen.model_copy(update={"outputs": {**seen.outputs, "auth": "secret"}})
    spec = {"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": planned["name"]}}]}]}
    bench.app.clusters.put_pod(CLUSTER, "shop", "reader", spec, "Running")
    bench.become(Kind.PRUNE)
    with pytest.raises(NotYetError, match=f"can be restored: {back}"):
        await bench.revert("settings")


@pytest.mark.parametrize("report_only", [True, False])
async def test_what_a_prune_keeps_or_would_delete_is_named_by_its_uid(bench: Bench, report_only: bool):
    there = the_secret(bench)
    if not report_only:
        there.annotations[ANNOTATION_KEEP] = "true"
    bench.become(Kind.PRUNE, report_only=report_only)
    [said] = (await bench.revert("settings")).outputs["would" if report_only else "kept"]
    assert said["uid"] == there.uid


@pytest.mark.parametrize(("removals", "raises"), [(True, True), (False, False)])
async def test_a_name_is_kept_back_for_any_time_in_which_a_lost_delete_may_land(
    bench: Bench, removals: bool, raises: bool
):
    bench.become(Kind.DELETE)
    bench.in_doubt_seconds, bench.removals_in_doubt = 0.5, removals
    ctx = bench.context("role_assignments")
    if raises:
        with pytest.raises(NotYetError, match="settle"):
            await forget(ctx, "role|x")
    else:
        await forget(ctx, "role|x")
