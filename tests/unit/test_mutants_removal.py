"""What is proven before something goes, who uses it, how long is waited (docs/reference/mutation.md)."""

from datetime import timedelta

import pytest

from shared import naming, retry
from shared.errors import Pace, StateConflictError, TransientError
from shared.models import ConnectionId, Kind, OperationId, Plan, Provenance
from shared.ports import Change, Insert, KubeObject, Linker, Remove
from shared.retry import WaitRule
from shared.steps import linked, objects, removal
from shared.steps.base import ANNOTATION_NONCE
from shared.users import Leaving, User, Users
from tests.fakes.clock import START, VirtualClock
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, IDENTITY_GROUP, STORAGE, LocalApp
from tests.fakes.state_store import InMemoryStateStore
from tests.fakes.step_bench import Bench

SECRET = "sc-ordersblob-secret"
IDENTITY = f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/ours"
PLAN = Plan(planned={"namespace": "shop", "name": SECRET, "provenance": Provenance.CREATED, "nonce": "mine"})
ONE, TWO, THREE = (User(connection_id=ConnectionId(name), generation=1) for name in ("one", "two", "three"))
FIRST, SECOND = OperationId("one-aa"), OperationId("one-bb")


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    made.become(Kind.DELETE)
    return made


def put(app: LocalApp, nonce: str) -> KubeObject:
    return app.clusters.put_object(CLUSTER, "Secret", "shop", SECRET, annotations={ANNOTATION_NONCE: nonce})


def linker(app: LocalApp, name: str, client_id: str, namespace: str = "shop") -> Linker:
    linker_id = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/{name}"
    made = Linker(
        resource_id=linker_id,
        name=name,
        namespace=namespace,
        target_id=STORAGE,
        client_id=client_id,
        client_type="none",
        provisioning_state="Succeeded",
    )
    app.world.linkers[naming.fold_id(linker_id)] = made
    return made


# --- cluster objects -----------------------------------------------------------------------------


async def test_what_was_remade_between_the_look_and_the_delete_stays(bench: Bench):
    put(bench.app, "mine")
    strangers: list[KubeObject] = []

    def remake(call: Call) -> None:
        if call.name == "clusters.get" and not strangers:
            del bench.app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", SECRET]
            strangers.append(put(bench.app, "a stranger's"))

    bench.app.journal.after = remake
    with pytest.raises(TransientError, match="precondition"):
        await objects.remove_object(bench.context("settings"), removal.Removal(), "Secret", PLAN)
    there = bench.app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", SECRET]
    assert there.uid == strangers[0].uid


async def test_a_removed_object_is_recorded_with_its_proof(bench: Bench):
    there = put(bench.app, "mine")
    done = removal.Removal()
    await objects.remove_object(bench.context("settings"), done, "Secret", PLAN, thing="the thing")
    assert done.removed == [
        {
            "kind": "Secret",
            "thing": "the thing",
            "namespace": "shop",
            "name": SECRET,
            "nonces": ["mine"],
            "found": True,
            "uid": there.uid,
            "rule": "proven-by-nonce",
            "proof": {"by": "nonce", "uid": ""},
        }
    ]


async def test_an_object_that_is_not_there_is_looked_for_again_by_its_name_and_nonces(bench: Bench):
    done = removal.Removal()
    known = {"nonce": "another's"}
    await objects.remove_object(bench.context("settings"), done, "Secret", PLAN, known=known)
    assert done.removed == [
        {
            "kind": "Secret",
            "thing": "",
            "namespace": "shop",
            "name": SECRET,
            "nonces": ["another's", "mine"],
            "rule": "already-gone",
            "found": False,
        }
    ]


@pytest.mark.parametrize("known", [None, {}, {"nonce": ""}])
async def test_nothing_known_is_no_nonce(bench: Bench, known: dict[str, str] | None):
    done = removal.Removal()
    plan = PLAN.model_copy(update={"planned": {"namespace": "shop", "name": SECRET}})
    await objects.remove_object(bench.context("settings"), done, "Secret", plan, known=known)
    assert done.removed[0]["nonces"] == []


async def test_an_object_that_another_connection_made_is_proven_by_what_the_users_row_knows(bench: Bench):
    put(bench.app, "another's")
    done = removal.Removal()
    context = bench.context("settings")
    await objects.remove_object(context, done, "Secret", PLAN)
    assert done.removed == []
    assert [(one["name"], one["rule"]) for one in done.kept] == [(SECRET, "not-proven-ours")]
    await objects.remove_object(context, done, "Secret", PLAN, known={"nonce": "another's"})
    assert [item["proof"]["by"] for item in done.removed] == ["nonce"]


async def test_an_identity_is_linked_by_its_client_id_whatever_its_letters(bench: Bench):
    linker(bench.app, "theirs", "ABC", namespace="elsewhere")
    context = bench.context("managed_identity")
    assert await linked.linkers_through(context, IDENTITY, "abc")
    assert not await linked.linkers_through(context, IDENTITY, "abd")
    assert await removal.live_linkers(context) == []


async def test_a_linker_writes_the_same_secret_if_its_name_folds_to_it(bench: Bench):
    linkers = [linker(bench.app, "Orders.Blob", "")]
    assert removal.same_secret(linkers, "orders-blob")
    assert not removal.same_secret(linkers, "orders-queue")
    assert await removal.live_linkers(bench.context("settings")) == linkers


# --- users rows ----------------------------------------------------------------------------------


@pytest.fixture
def store() -> InMemoryStateStore:
    return InMemoryStateStore(VirtualClock())


@pytest.fixture
def users(store: InMemoryStateStore) -> Users:
    return Users(store, lease_seconds=150)


async def never(_: OperationId) -> bool:
    return False


async def test_seizing_marks_the_thing_for_the_operation_and_for_no_other(users: Users):
    assert await users.seize("thing", ONE, operation_id=FIRST) is True
    assert await users.seize("thing", ONE, operation_id=FIRST) is True, "the same operation again"
    assert await users.seize("thing", ONE, operation_id=SECOND) is False
    row = await users.get("thing")
    assert row is not None
    assert (row.users, row.closing) == ((ONE,), FIRST)


@pytest.mark.parametrize("times", [1, 7])
async def test_a_thing_is_seized_though_somebody_was_in_the_way_and_has_gone_again(
    users: Users, store: InMemoryStateStore, monkeypatch: pytest.MonkeyPatch, times: int
):
    transact, came = store.transact, list[object]()

    async def meets(table: str, partition: str, changes: list[Change]) -> object:
        if len(came) < times:
            came.append(changes)
            raise StateConflictError("somebody was faster")
        return await transact(table, partition, changes)

    monkeypatch.setattr(store, "transact", meets)
    assert await users.seize("thing", ONE, operation_id=FIRST) is True
    row = await users.get("thing")
    assert row is not None
    assert (row.users, row.closing) == ((ONE,), FIRST)


async def test_whose_a_thing_is_that_others_come_to_and_leave_all_the_time_is_not_said(
    users: Users, monkeypatch: pytest.MonkeyPatch
):
    await users.join("identity|thing", TWO, settled=never)

    async def gone(thing: str) -> None:
        return None

    monkeypatch.setattr(users, "get", gone)
    with pytest.raises(StateConflictError, match=r"users of identity$"):
        await users.seize("identity|thing", ONE, operation_id=FIRST)


async def test_forgetting_drops_only_the_row_that_was_read(users: Users, store: InMemoryStateStore):
    await users.seize("thing", ONE, operation_id=FIRST)
    seen: list[object] = []
    transact = store.transact

    async def noted(table: str, partition: str, changes: object) -> object:
        seen.extend(changes)  # type: ignore[call-overload]
        return await transact(table, partition, changes)  # type: ignore[arg-type]

    [row] = store.rows("users")
    store.transact = noted  # type: ignore[method-assign, assignment]
    await users.forget("thing", operation_id=FIRST)
    assert seen == [Remove(key=row.key, etag=row.etag)]


async def test_a_users_row_shows_how_many_use_the_thing_and_what_closes_it(
    users: Users, store: InMemoryStateStore
):
    for user in (ONE, TWO, THREE):
        await users.join("thing", user, settled=never)
    [row] = store.rows("users")
    assert (row.columns["users"], row.columns["closing"]) == (3, "")
    for user in (ONE, TWO):
        assert await users.leave("thing", user, operation_id=FIRST) == Leaving(
            last=False, shared=True, details={}
        )
    await users.leave("thing", THREE, operation_id=FIRST)
    [row] = store.rows("users")
    assert (row.columns["users"], row.columns["closing"]) == (1, FIRST)


async def test_a_users_row_keeps_its_key(store: InMemoryStateStore, users: Users):
    await users.join("thing", ONE, settled=never)
    assert [row.key for row in store.rows("users")] == ["thing"], "rows outlive a deployment"
    with pytest.raises(StateConflictError):
        await store.transact("users", store.rows("users")[0].partition, [Insert(key="thing", columns={})])


# --- retries -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "fresh"),
    [
        (WaitRule(interval_seconds=1, deadline_seconds=7199), False),
        (WaitRule(interval_seconds=1, deadline_seconds=7200), True),
        (WaitRule(interval_seconds=1, deadline_seconds=None), True),
        (WaitRule(interval_seconds=1, deadline_seconds=10, held=True), True),
    ],
)
def test_tries_are_counted_anew_after_a_wait_of_two_hours_or_of_no_end(rule: WaitRule, fresh: bool):
    assert rule.fresh_start is fresh


def test_a_wait_without_a_code_of_its_own_has_one():
    assert WaitRule(interval_seconds=1, deadline_seconds=1).code == "wait-expired"
    assert retry.QUEUE_DELAY_LIMIT_SECONDS == 600


@pytest.mark.parametrize(
    ("pace", "attempts", "seconds"),
    [
        (Pace.NONE, 1, 0.0),
        (Pace.NONE, 5, 1.0),
        (Pace.NONE, 11, 2.0),
        (Pace.FAST, 1, 2.0),
        (Pace.FAST, 5, 32.0),
        (Pace.FAST, 6, 60.0),
        (Pace.SLOW, 1, 10.0),
        (Pace.SLOW, 6, 300.0),
        (Pace.VERY_SLOW, 1, 60.0),
        (Pace.VERY_SLOW, 5, 600.0),
    ],
)
def test_the_delay_of_each_try_is_the_paces_own_with_the_jitter_of_that_try(
    pace: Pace, attempts: int, seconds: float
):
    decision = retry.after_error(
        TransientError("x", pace=pace), attempts=attempts, first_run_at=START, now=START, seed="s"
    )
    expected = min(seconds, {Pace.NONE: 2.0}.get(pace, seconds)) * (1.0 + retry.jitter(f"s|{attempts}"))
    assert decision == retry.TryAgain(pytest.approx(expected))


@pytest.mark.parametrize(("asked", "decision"), [(3600.0, retry.TryAgain), (3600.5, retry.GiveUp)])
def test_the_whole_time_of_a_step_is_used_and_no_more(asked: float, decision: type[object]):
    error = TransientError("x", retry_after_seconds=asked)
    again = retry.after_error(error, attempts=1, first_run_at=START, now=START, seed="s")
    assert isinstance(again, decision)
    spent = retry.after_error(
        TransientError("x", retry_after_seconds=600),
        attempts=1,
        first_run_at=START,
        now=START + timedelta(seconds=asked - 600),
        seed="s",
    )
    assert isinstance(spent, decision)
