"""A cluster that was replaced: what went with it, and what was written into the one that stands there now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.errors import TransientError
from shared.models import Kind
from shared.steps.base import ANNOTATION_NONCE, LABEL_MANAGED_BY, LABEL_WORKLOAD, account_thing
from shared.steps.objects import account_of
from tests.fakes.local_app import CLUSTER, LocalApp, make_app
from tests.fakes.step_bench import Bench

OBJECTS = {"settings": "Secret", "service_account": "ServiceAccount"}
steps = pytest.mark.parametrize("step", list(OBJECTS))


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path)


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    return made


def objects(app: LocalApp) -> set[str]:
    return {key[0] for key in app.world.clusters[naming.fold_id(CLUSTER)].objects}


def rebuilt(app: LocalApp, kind: str, name: str, *, nonce: str) -> Any:
    """Another cluster under the same id, with an object of that name and nonce."""
    app.world.remove(CLUSTER)
    app.world.add_cluster(CLUSTER, namespaces=("shop",), issuer="https://another")
    labels = {LABEL_MANAGED_BY: naming.MANAGED_BY}
    app.clusters.put_object(CLUSTER, kind, "shop", name, labels=labels, annotations={ANNOTATION_NONCE: nonce})
    [stored] = app.world.clusters[naming.fold_id(CLUSTER)].objects.values()
    return stored


@steps
async def test_the_objects_of_another_life_of_the_cluster_are_not_touched(bench: Bench, step: str):
    app, planned = bench.app, bench.intents[step].planned
    # As a backup puts it back: the name and the annotations are the old ones, the uid is new.
    rebuilt(app, OBJECTS[step], str(planned["name"]), nonce=str(planned["nonce"]))
    bench.become(Kind.PRUNE)
    app.journal.calls.clear()
    [item] = (await bench.revert(step)).outputs["removed"]
    assert (item["rule"], item["found"]) == ("cluster-gone", False)
    await bench.apply("verify_gone")
    assert not {"clusters.list_uses", "clusters.delete"} & set(app.journal.names())
    assert OBJECTS[step] in objects(app)


@steps
async def test_an_object_that_was_written_into_the_new_life_of_the_cluster_is_removed_with_every_guard(
    bench: Bench, step: str
):
    app, known = bench.app, bench.intents[step]
    # The cluster was replaced between preflight and the write: the record has the new object's uid.
    stored = rebuilt(app, OBJECTS[step], str(known.planned["name"]), nonce=str(known.planned["nonce"]))
    stored.uid = str(known.outputs["uid"])
    bench.become(Kind.PRUNE)
    [item] = (await bench.revert(step)).outputs["removed"]
    assert (item["rule"], item["found"], item["use"]["users"]) == ("proven-by-uid", True, 0)
    assert OBJECTS[step] not in objects(app)


@steps
async def test_a_write_into_the_new_life_that_never_came_back_is_proven_by_its_nonce(bench: Bench, step: str):
    app, known = bench.app, bench.intents[step]
    rebuilt(app, OBJECTS[step], str(known.planned["name"]), nonce=str(known.planned["nonce"]))
    bench.intents[step] = known.model_copy(update={"outputs": {}})
    bench.become(Kind.PRUNE)
    [item] = (await bench.revert(step)).outputs["removed"]
    assert (item["rule"], item["found"]) == ("proven-by-nonce", True)
    assert OBJECTS[step] not in objects(app)


async def test_an_account_that_another_connection_made_in_the_new_life_goes_with_its_last_user(bench: Bench):
    app, known = bench.app, bench.intents["service_account"]
    rebuilt(app, "ServiceAccount", str(known.planned["name"]), nonce="of-the-other")
    thing = account_thing(CLUSTER, "shop", account_of(str(known.planned["name"])))
    ctx = bench.context("service_account")
    await ctx.users.join(thing, ctx.user, settled=ctx.recorder.settled, details={"nonce": "of-the-other"})
    bench.become(Kind.PRUNE)
    [item] = (await bench.revert("service_account")).outputs["removed"]
    assert (item["rule"], item["found"]) == ("proven-by-nonce", True)
    assert "ServiceAccount" not in objects(app)


@steps
@pytest.mark.parametrize("kind", [Kind.DELETE, Kind.PRUNE])
async def test_a_lost_create_that_lands_in_the_new_life_after_the_removal_is_removed_again(
    bench: Bench, step: str, kind: Kind
):
    app, known = bench.app, bench.intents[step]
    bench.intents[step] = known.model_copy(update={"outputs": {}})
    bench.become(kind)
    app.world.remove(CLUSTER)
    [item] = (await bench.revert(step)).outputs["removed"]
    assert (item["rule"], item["found"]) == ("cluster-gone", False)
    rebuilt(app, OBJECTS[step], str(known.planned["name"]), nonce=str(known.planned["nonce"]))
    with pytest.raises(TransientError, match="came-back"):
        await bench.apply("verify_gone")
    assert OBJECTS[step] not in objects(app)
    assert "returned" not in (await bench.apply("verify_gone")).outputs


@steps
@pytest.mark.parametrize(
    ("kind", "nonce"), [(Kind.DELETE, "theirs"), (Kind.PRUNE, "theirs"), (Kind.PRUNE, "")]
)
async def test_what_others_put_into_the_new_life_after_the_removal_stays_and_has_not_returned(
    bench: Bench, step: str, kind: Kind, nonce: str
):
    app, planned = bench.app, bench.intents[step].planned
    bench.become(kind)
    app.world.remove(CLUSTER)
    await bench.revert(step)
    # Without a nonce of its own: as a backup puts it back.
    rebuilt(app, OBJECTS[step], str(planned["name"]), nonce=nonce or str(planned["nonce"]))
    assert "returned" not in (await bench.apply("verify_gone")).outputs
    assert OBJECTS[step] in objects(app)


@pytest.mark.parametrize("before", ["a user", "its first run"])
async def test_an_account_that_others_know_and_that_is_made_again_in_the_new_life_goes_with_its_last_user(
    bench: Bench, before: str
):
    app, other = bench.app, Bench(bench.app, "orders-more")
    await other.up_to("service_account")
    if before == "its first run":  # it had seen the account, and no answer of its own
        other.intents["service_account"] = other.intents["service_account"].model_copy(update={"outputs": {}})
    app.world.remove(CLUSTER)
    app.world.add_cluster(CLUSTER, namespaces=("shop",), issuer="https://another")
    other.become(Kind.CREATE)
    await other.apply("service_account")
    other.become(Kind.DELETE)
    [kept] = (await other.revert("service_account")).outputs["kept"]
    assert (kept["rule"], objects(app)) == ("still-shared", {"ServiceAccount"})
    bench.become(Kind.PRUNE)
    [item] = (await bench.revert("service_account")).outputs["removed"]
    assert (item["rule"], item["found"]) == ("proven-by-nonce", True)
    assert objects(app) == set()


async def test_an_account_that_is_made_again_in_the_new_life_without_an_answer_goes_with_its_prune(
    bench: Bench,
):
    app, recorded = bench.app, bench.intents["service_account"]
    app.world.remove(CLUSTER)
    app.world.add_cluster(CLUSTER, namespaces=("shop",), issuer="https://another")
    bench.become(Kind.CREATE)
    await bench.apply("service_account")
    bench.intents["service_account"] = recorded
    bench.become(Kind.PRUNE)
    [item] = (await bench.revert("service_account")).outputs["removed"]
    assert (item["rule"], item["found"]) == ("proven-by-nonce", True)
    assert objects(app) == set()


@steps
@pytest.mark.parametrize(("kind", "rule"), [(Kind.DELETE, "cluster-gone"), (Kind.PRUNE, "already-gone")])
async def test_a_late_write_is_removed_again_where_no_backup_can_have_put_it_back_or_a_person_has_asked(
    bench: Bench, step: str, kind: Kind, rule: str
):
    app, planned = bench.app, bench.intents[step].planned
    if rule == "cluster-gone":
        app.world.remove(CLUSTER)
    else:
        app.world.clusters[naming.fold_id(CLUSTER)].objects.clear()
    bench.become(kind)
    [item] = (await bench.revert(step)).outputs["removed"]
    assert (item["rule"], item["found"]) == (rule, False)
    if rule == "cluster-gone":
        app.world.add_cluster(CLUSTER, namespaces=("shop",), issuer="https://another")
    labels, annotations = {LABEL_MANAGED_BY: naming.MANAGED_BY}, {ANNOTATION_NONCE: str(planned["nonce"])}
    name = str(planned["name"])
    app.clusters.put_object(CLUSTER, OBJECTS[step], "shop", name, labels=labels, annotations=annotations)
    with pytest.raises(TransientError, match="came-back"):
        await bench.apply("verify_gone")
    assert objects(app) == set()


async def made_again(bench: Bench, by: Bench) -> str:
    """Somebody deletes the account by hand, and it is made again in the same cluster; its new nonce."""
    there = bench.app.world.clusters[naming.fold_id(CLUSTER)].objects
    [key] = [key for key in there if key[0] == "ServiceAccount"]
    del there[key]
    by.become(Kind.REPAIR if by is bench else Kind.CREATE)
    await by.up_to("service_account")
    return str(there[key].annotations[ANNOTATION_NONCE])


@pytest.mark.parametrize("by", ["itself", "another"])
@pytest.mark.parametrize("answered", [True, False])
async def test_an_account_that_was_made_again_in_the_old_life_and_came_back_from_a_backup_is_not_touched(
    bench: Bench, by: str, answered: bool
):
    app, other = bench.app, Bench(bench.app, "orders-more")
    nonce = await made_again(bench, bench if by == "itself" else other)
    known = bench.intents["service_account"]
    assert known.planned["nonce"] != nonce
    if by == "another":
        other.become(Kind.DELETE)
        await other.revert("service_account")
    if not answered:
        bench.lose_record("service_account")
    rebuilt(app, "ServiceAccount", str(known.planned["name"]), nonce=nonce)
    bench.become(Kind.PRUNE)
    [item] = (await bench.revert("service_account")).outputs["removed"]
    assert (item["rule"], item["found"]) == ("cluster-gone", False)
    await bench.apply("verify_gone")
    assert "ServiceAccount" in objects(app)


@pytest.mark.parametrize("copied", [True, False])
async def test_an_account_that_another_wrote_into_the_new_life_last_goes_though_it_was_made_again_before(
    bench: Bench, copied: bool
):
    app, other = bench.app, Bench(bench.app, "orders-more")
    nonce = await made_again(bench, bench)
    planned = bench.intents["service_account"].planned
    app.world.remove(CLUSTER)
    app.world.add_cluster(CLUSTER, namespaces=("shop",), issuer="https://another")
    if copied:
        labels = {LABEL_MANAGED_BY: naming.MANAGED_BY, LABEL_WORKLOAD: bench.context("settings").workload_key}
        annotations = {ANNOTATION_NONCE: nonce}
        name = str(planned["name"])
        app.clusters.put_object(
            CLUSTER, "ServiceAccount", "shop", name, labels=labels, annotations=annotations
        )
    await other.up_to("service_account")
    await other.apply("service_account")  # as after a crash
    other.become(Kind.DELETE)
    await other.revert("service_account")
    bench.become(Kind.PRUNE)
    [item] = (await bench.revert("service_account")).outputs["removed"]
    assert (item["rule"], item["found"]) == ("proven-by-nonce", True)
    assert objects(app) == set()


async def test_a_second_run_that_finds_the_account_in_the_new_life_does_not_call_it_the_old_lifes(
    bench: Bench,
):
    app, other = bench.app, Bench(bench.app, "orders-more")
    await other.up_to("managed_identity")
    app.world.remove(CLUSTER)  # since its preflight
    app.world.add_cluster(CLUSTER, namespaces=("shop",), issuer="https://another")
    await other.apply("service_account")
    other.lose_record("service_account")
    await other.apply("service_account")
    other.become(Kind.DELETE)
    await other.revert("service_account")
    bench.become(Kind.PRUNE)
    [item] = (await bench.revert("service_account")).outputs["removed"]
    assert (item["rule"], item["found"]) == ("proven-by-nonce", True)
    assert objects(app) == set()
