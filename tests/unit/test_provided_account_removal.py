"""The annotation on a given account goes with its last user, if it is ours, and the account never."""

from pathlib import Path

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.models import Kind
from tests.fakes.given_account import (
    ACCOUNT,
    CLIENT_ID,
    ID,
    OTHERS,
    account,
    allow,
    client_id,
    make_account,
    named,
    remove,
)
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    LocalApp,
    deletion_event,
    make_app,
)
from tests.fakes.step_bench import Bench
from tests.fakes.sweeps import connected
from tests.unit.test_races import at_once, once


@pytest.fixture
def theirs(app: LocalApp) -> LocalApp:
    allow(app)
    make_account(app)
    return app


async def test_a_mark_that_its_owner_wrote_as_well_stays_when_ours_goes(theirs: LocalApp):
    await connected(theirs, serviceAccount=ACCOUNT)
    own = await client_id(theirs)
    make_account(theirs, **{CLIENT_ID: own})
    await remove(theirs)
    assert await named(theirs) == own
    assert await theirs.state(ID) == "deleted"


async def test_an_account_made_anew_by_its_owner_is_left_alone_by_a_delete(theirs: LocalApp):
    await connected(theirs, serviceAccount=ACCOUNT)
    own = await client_id(theirs)
    del theirs.world.clusters[naming.fold_id(CLUSTER)].objects["ServiceAccount", "shop", ACCOUNT]
    anew = make_account(theirs, **{CLIENT_ID: own})
    await remove(theirs)
    assert await account(theirs) == anew
    assert await theirs.state(ID) == "deleted"


async def test_the_last_user_takes_the_mark_back_that_another_one_wrote_on_the_account_made_anew(
    theirs: LocalApp,
):
    first = Bench(theirs, service_account=ACCOUNT)
    await first.up_to("service_account")
    del theirs.world.clusters[naming.fold_id(CLUSTER)].objects["ServiceAccount", "shop", ACCOUNT]
    make_account(theirs)
    second = Bench(theirs, "orders-more", service_account=ACCOUNT)
    await second.up_to("service_account")
    for bench in (second, first):
        bench.become(Kind.DELETE)
        await bench.revert("service_account")
    assert await named(theirs) == ""


async def test_a_prune_takes_the_mark_and_is_not_held_by_the_accounts_pods(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    allow(app)
    make_account(app)
    await connected(app, serviceAccount=ACCOUNT)
    app.clusters.put_pod(CLUSTER, "shop", "p", {"serviceAccountName": ACCOUNT, "containers": []})
    app.world.remove(STORAGE)
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle(seconds=4000)
    assert await app.state(ID) == "pruned"
    assert dict((await account(app)).annotations) == OTHERS


async def test_a_prune_that_only_reports_says_the_mark_and_leaves_it(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0", MOORING_PRUNE_MODE="report")
    allow(app)
    make_account(app)
    await connected(app, serviceAccount=ACCOUNT)
    await connected(
        app, "orders-more", serviceAccount=ACCOUNT, target={"type": "storage-blob", "id": STORAGE}
    )
    app.world.remove(STORAGE)
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle(seconds=4000)
    assert await named(app)
    [prune] = [one for one in await app.operations(ID) if one.kind is Kind.PRUNE]
    snapshot = await app.services.state.load(prune.operation_id)
    assert snapshot is not None
    outputs = snapshot.steps["service_account"].value.outputs
    assert [(one["kind"], one["rule"]) for one in outputs["kept"]] == [("annotation", "still-shared")]


async def test_a_prune_that_only_reports_says_that_it_would_take_the_mark(theirs: LocalApp):
    bench = Bench(theirs, service_account=ACCOUNT)
    await bench.up_to("settings")
    bench.become(Kind.PRUNE, report_only=True)
    done = await bench.revert("service_account")
    assert [(one["kind"], one["rule"]) for one in done.outputs["would"]] == [("annotation", "last-user")]
    assert await named(theirs)


async def test_a_protected_namespace_and_a_lost_cluster_keep_and_lose_the_mark(app: LocalApp):
    allow(app)
    make_account(app)
    bench = Bench(app, service_account=ACCOUNT)
    await bench.up_to("settings")
    bench.become(Kind.PRUNE)
    app.policy_file.write_text(f'{app.policy_file.read_text()}[protected]\nnamespaces = ["shop"]\n')
    done = await bench.revert("service_account")
    assert [one["rule"] for one in done.outputs["kept"]] == ["protected-namespace"]
    assert await named(app)


async def test_a_deleted_cluster_takes_the_mark_along(theirs: LocalApp):
    bench = Bench(theirs, service_account=ACCOUNT)
    await bench.up_to("settings")
    bench.become(Kind.DELETE)
    theirs.world.remove(CLUSTER)
    done = await bench.revert("service_account")
    assert [one["rule"] for one in done.outputs["removed"]] == ["cluster-gone"]
    assert "verified" in (await bench.apply("verify_gone")).outputs


async def test_a_late_write_of_the_mark_is_taken_back_at_the_end(theirs: LocalApp):
    bench = Bench(theirs, service_account=ACCOUNT)
    await bench.up_to("settings")
    own = await named(theirs)
    bench.become(Kind.DELETE)
    await bench.revert("service_account")
    there = await account(theirs)
    await theirs.clusters.apply(
        CLUSTER,
        "ServiceAccount",
        "shop",
        ACCOUNT,
        labels={},
        annotations={CLIENT_ID: own},
        uid=there.uid,
        resource_version=there.resource_version,
    )
    with pytest.raises(Exception, match="came-back: annotation"):
        await bench.apply("verify_gone")
    assert await named(theirs) == ""
    assert (await bench.apply("verify_gone")).outputs["verified"] == ["annotation"]


async def test_a_newcomer_keeps_the_mark_that_a_removal_has_taken_back_before(theirs: LocalApp):
    bench = Bench(theirs, service_account=ACCOUNT)
    await bench.up_to("settings")
    own = await named(theirs)
    bench.become(Kind.DELETE)
    await bench.revert("service_account")
    assert await named(theirs) == ""
    newcomer = Bench(theirs, "orders-more", service_account=ACCOUNT)
    newcomer.intents = {name: bench.intents[name] for name in ("preflight", "managed_identity")}

    def comes(call: Call) -> None:
        at_once(newcomer.apply("service_account"))

    # The outcome was lost, so the step runs again: it has no row any more that keeps newcomers out.
    theirs.journal.after = once("state.get", comes)
    await bench.revert("service_account")
    assert await named(theirs) == own


async def test_a_cluster_that_goes_at_the_end_took_the_mark_too(theirs: LocalApp):
    bench = Bench(theirs, service_account=ACCOUNT)
    await bench.up_to("settings")
    bench.become(Kind.DELETE)
    await bench.revert("service_account")
    theirs.world.remove(CLUSTER)
    assert (await bench.apply("verify_gone")).outputs["verified"] == ["annotation"]


async def test_who_may_not_look_does_not_say_that_the_mark_is_gone(theirs: LocalApp):
    bench = Bench(theirs, service_account=ACCOUNT)
    await bench.up_to("settings")
    bench.become(Kind.DELETE)
    denied = PermanentError("kubernetes-access-denied", "serviceaccounts")

    def rule(call: Call) -> BaseException | None:
        return denied if call.name == "clusters.get" else None

    theirs.journal.before = rule
    with pytest.raises(PermanentError, match="kubernetes-access-denied"):
        await bench.revert("service_account")
    theirs.journal.before = None
    assert [one["rule"] for one in (await bench.revert("service_account")).outputs["removed"]] == [
        "last-user"
    ]
    theirs.journal.before = rule
    with pytest.raises(PermanentError, match="kubernetes-access-denied"):
        await bench.apply("verify_gone")
