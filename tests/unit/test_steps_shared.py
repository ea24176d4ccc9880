"""What holds for every step that makes something: again, already there, already gone, shared, reported."""

import pytest

from shared import naming, plans
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Kind
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.step_bench import Bench

MAKERS = plans.REVERT


@pytest.fixture
def bench(app: LocalApp) -> Bench:
    return Bench(app)


def writes(app: LocalApp, since: int = 0) -> list[str]:
    verbs = ("ensure", "apply", "delete")
    return [
        name
        for name in app.journal.names()[since:]
        if name.partition(".")[2].startswith(verbs) and not name.startswith(("state", "queue"))
    ]


# --- again and again -----------------------------------------------------------------------------


@pytest.mark.parametrize("step", MAKERS)
async def test_applying_twice_is_applying_once(bench: Bench, step: str):
    await bench.up_to(step)
    world, outputs = bench.world(), bench.intents[step].outputs
    again = await bench.apply(step)
    assert bench.world() == world
    assert again.outputs == outputs


@pytest.mark.parametrize("step", MAKERS)
async def test_what_a_crash_left_unrecorded_is_found_and_not_made_twice(bench: Bench, step: str):
    await bench.up_to(step)
    world, outputs = bench.world(), bench.intents[step].outputs
    bench.lose_record(step)
    assert (await bench.apply(step)).outputs == outputs
    assert bench.world() == world


@pytest.mark.parametrize("step", MAKERS)
async def test_what_was_made_is_removed_and_removing_twice_is_fine(bench: Bench, step: str):
    await bench.up_to(step)
    made = bench.world()
    bench.become(Kind.DELETE)
    assert (await bench.revert(step)).outputs["removed"]
    gone = bench.world()
    assert gone != made
    await bench.revert(step)
    assert bench.world() == gone


@pytest.mark.parametrize("step", MAKERS)
async def test_what_a_crash_left_unrecorded_is_removed_all_the_same(bench: Bench, step: str):
    before = bench.world() if step == MAKERS[0] else None
    await bench.up_to(step)
    made = bench.world()
    bench.lose_record(step)
    bench.become(Kind.DELETE)
    assert (await bench.revert(step)).outputs["removed"]
    assert bench.world() not in (made, before)


@pytest.mark.parametrize("step", MAKERS)
async def test_what_somebody_else_removed_already_is_no_error_and_no_second_delete_harms(
    bench: Bench, step: str
):
    await bench.up_to("settings")
    bench.app.world.identities.clear()
    bench.app.world.credentials.clear()
    bench.app.world.assignments.clear()
    bench.app.world.clusters[naming.fold_id(CLUSTER)].objects.clear()
    bench.become(Kind.DELETE)
    await bench.revert(step)
    things = [
        row
        for row in bench.app.store.rows("users")
        if f'"thing":"{_prefix(step)}|' in str(row.columns["body"])
    ]
    assert things == [], "nobody uses what is gone"


def _prefix(step: str) -> str:
    return {
        "managed_identity": "identity",
        "role_assignments": "role",
        "federated_credential": "credential",
        "service_account": "account",
        "settings": "nothing",
    }[step]


@pytest.mark.parametrize("step", MAKERS)
async def test_what_was_never_made_is_not_looked_for(bench: Bench, step: str):
    bench.become(Kind.DELETE)
    result = await bench.revert(step)
    assert not result.outputs.get("removed")
    assert bench.app.journal.names() == []


@pytest.mark.parametrize("step", [*plans.CREATE, "quiesce", "confirm_gone", "verify_gone"])
async def test_every_step_can_be_checked_when_nothing_was_made_and_changes_nothing(bench: Bench, step: str):
    world = bench.world()
    findings = await bench.check(step)
    assert all(one.result in {"ok", "failed", "unknown"} for one in findings.values())
    if step in MAKERS:
        assert [one.result for one in findings.values()] == ["failed"]
    assert bench.world() == world
    assert writes(bench.app) == []


@pytest.mark.parametrize("step", ["preflight", "prove", "quiesce", "confirm_gone", "verify_gone"])
async def test_a_step_that_only_looks_has_nothing_to_revert(bench: Bench, step: str):
    assert (await bench.revert(step)).outputs == {}


async def test_a_step_whose_forerunner_recorded_nothing_fails_instead_of_guessing(bench: Bench):
    with pytest.raises(PermanentError, match="missing-output: managed_identity has recorded no principalId"):
        await bench.apply("role_assignments")
    with pytest.raises(PermanentError, match="missing-output: preflight has recorded no facts"):
        assert bench.context("settings").facts


# --- shared things -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step", ["managed_identity", "role_assignments", "federated_credential", "service_account"]
)
async def test_what_another_connection_uses_stays_until_that_one_goes_too(app: LocalApp, step: str):
    one, other = Bench(app), Bench(app, "orders-blob-2")
    await one.up_to("settings")
    await other.up_to("settings")
    shared = one.world()
    one.become(Kind.DELETE)
    outputs = (await one.revert(step)).outputs
    assert not outputs.get("removed")
    assert "still" in str(outputs["kept"])
    assert one.world() == shared
    other.become(Kind.DELETE)
    assert (await other.revert(step)).outputs["removed"]
    assert other.world() != shared


@pytest.mark.parametrize(
    "step", ["managed_identity", "role_assignments", "federated_credential", "service_account"]
)
async def test_a_newcomer_waits_while_the_last_user_removes_the_thing(app: LocalApp, step: str):
    one, other = Bench(app), Bench(app, "orders-blob-2")
    await one.up_to("settings")
    await other.up_to(plans.CREATE[plans.CREATE.index(step) - 1])
    one.become(Kind.DELETE)

    def rule(call: Call) -> BaseException | None:
        return TransientError("busy") if ".delete" in call.name else None

    app.journal.before = rule
    with pytest.raises(TransientError, match="busy"):
        await one.revert(step)
    app.journal.before = None
    with pytest.raises(NotYetError, match="closing"):
        await other.apply(step)
    await one.revert(step)
    if step != "managed_identity":
        assert (await other.apply(step)).outputs, "the thing is made anew"


@pytest.mark.parametrize("step", MAKERS)
async def test_a_report_changes_nothing_and_says_what_it_would_do(app: LocalApp, step: str):
    bench = Bench(app)
    await bench.up_to("settings")
    world, rows = bench.world(), [row.etag for row in app.store.rows("users")]
    calls = len(app.journal.names())
    bench.become(Kind.PRUNE, report_only=True)
    outputs = (await bench.revert(step)).outputs
    assert "would" in str(outputs)
    assert not outputs.get("removed")
    assert bench.world() == world
    assert [row.etag for row in app.store.rows("users")] == rows
    assert writes(app, calls) == []
