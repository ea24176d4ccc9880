"""A resource that moved is missing under its old id and lives on: nothing of its connection is removed."""

import dataclasses

import pytest

from shared import naming
from shared.errors import MooringError, NotYetError, PermanentError, TransientError
from shared.models import Done, Kind
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, SUBSCRIPTION, LocalApp
from tests.fakes.resources import InMemoryResources
from tests.fakes.step_bench import Bench

OTHER_SUBSCRIPTION = "99999999-9999-4999-8999-999999999999"
ELSEWHERE = f"/subscriptions/{OTHER_SUBSCRIPTION}/resourceGroups/moved"


@pytest.fixture
async def bench(app: LocalApp) -> Bench:
    made = Bench(app)
    await made.up_to("settings")
    made.rules = dataclasses.replace(
        made.rules,
        prune_confirm_seconds=0,
        prune_grace_seconds=900,
        subscription_ids=frozenset({SUBSCRIPTION, OTHER_SUBSCRIPTION}),
    )
    return made


def moved(resource_id: str, group: str = ELSEWHERE) -> str:
    return resource_id.replace(GROUP, group).replace(resource_id.partition("/providers/")[0], group)


def fake(bench: Bench) -> InMemoryResources:
    return bench.app.services.engine.outside.resources._port  # type: ignore[attr-defined,no-any-return]


def endpoint(bench: Bench, host: str = "orders") -> dict[str, object]:
    return {"properties": {"primaryEndpoints": {"blob": f"https://{host}.blob.core.windows.net/"}}}


async def held(bench: Bench) -> str:
    with pytest.raises(NotYetError) as caught:
        await bench.apply("confirm_gone")
    assert caught.value.reason == "no-canary"
    return caught.value.detail


def assert_moved(bench: Bench, result: Done, successor: str) -> None:
    assert result.ends_operation == "resource-moved"
    assert result.outputs["fact"] == "moved"
    assert naming.fold_id(result.outputs["successor"]) == naming.fold_id(successor)
    assert naming.fold_id(successor) in result.detail.lower()
    assert "create it again" in result.remedy
    assert bench.app.leftovers()["objects"]


# --- targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [ELSEWHERE, f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other"])
async def test_a_target_with_the_recorded_endpoint_elsewhere_has_moved(bench: Bench, group: str):
    bench.app.world.remove(STORAGE)
    bench.app.world.add_resource(moved(STORAGE, group), endpoint(bench))
    bench.become(Kind.PRUNE)
    assert_moved(bench, await bench.apply("confirm_gone"), moved(STORAGE, group))


async def test_a_namesake_with_another_endpoint_is_another_target(bench: Bench):
    bench.rules = dataclasses.replace(bench.rules, prune_grace_seconds=0)
    bench.app.world.remove(STORAGE)
    bench.app.world.add_resource(moved(STORAGE), endpoint(bench, "orders-of-another-cloud"))
    bench.become(Kind.PRUNE)
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"


async def test_without_recorded_facts_the_same_name_is_the_same_target(bench: Bench):
    bench.app.world.remove(STORAGE)
    bench.app.world.add_resource(moved(STORAGE), endpoint(bench, "whatever"))
    del bench.intents["preflight"]
    bench.become(Kind.PRUNE)
    assert_moved(bench, await bench.apply("confirm_gone"), moved(STORAGE))


async def test_a_target_that_moves_within_its_grace_period_is_found_at_the_next_look(bench: Bench):
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)
    with pytest.raises(NotYetError, match="grace"):
        await bench.apply("confirm_gone")
    bench.app.world.add_resource(moved(STORAGE), endpoint(bench))
    bench.app.clock.advance(900)
    assert_moved(bench, await bench.apply("confirm_gone"), moved(STORAGE))


async def test_a_listed_successor_that_is_gone_by_now_is_none(bench: Bench):
    bench.rules = dataclasses.replace(bench.rules, prune_grace_seconds=0)
    bench.app.world.remove(STORAGE)
    successor = moved(STORAGE)
    bench.app.world.add_resource(successor, endpoint(bench))

    def rule(call: Call) -> BaseException | None:
        if call.name == "resources.get" and ELSEWHERE.lower() in str(call).lower():
            bench.app.world.remove(successor)
        return None

    bench.app.journal.before = rule
    bench.become(Kind.PRUNE)
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"


async def test_a_subscription_that_is_not_ours_is_not_searched(bench: Bench):
    bench.rules = dataclasses.replace(
        bench.rules, prune_grace_seconds=0, subscription_ids=frozenset({SUBSCRIPTION})
    )
    bench.app.world.remove(STORAGE)
    bench.app.world.add_resource(moved(STORAGE), endpoint(bench))
    bench.become(Kind.PRUNE)
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"


# --- doubt ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, {"properties": {}}], ids=["unreadable", "without-endpoint"])
async def test_a_successor_that_cannot_be_judged_holds_the_prune(
    bench: Bench, body: dict[str, object] | None
):
    bench.app.world.remove(STORAGE)
    bench.app.world.add_resource(moved(STORAGE), body)
    if body is None:
        fake(bench).broken[naming.fold_id(moved(STORAGE))] = PermanentError("access-denied")
    bench.become(Kind.PRUNE)
    assert "may have moved" in await held(bench)


async def test_a_refused_list_holds_the_prune(bench: Bench):
    bench.app.world.remove(STORAGE)
    fake(bench).list_broken = PermanentError("access-denied")
    bench.become(Kind.PRUNE)
    assert "access-denied" in await held(bench)


async def test_a_list_that_fails_is_asked_again_and_passed_over_by_nobody(bench: Bench):
    bench.app.world.remove(STORAGE)
    error: MooringError = TransientError("list-broken")
    fake(bench).list_broken = error
    bench.become(Kind.PRUNE)
    with pytest.raises(TransientError, match="list-broken"):
        await bench.apply("confirm_gone")


async def test_a_list_that_does_not_show_the_witness_would_not_show_a_successor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    other = f"{STORAGE}2"
    bench.app.world.add_resource(other)
    await bench.app.services.engine.limits.remember_canary(other, api_version="2023-05-01")
    bench.app.world.remove(STORAGE)
    bench.become(Kind.PRUNE)

    async def nothing(*_: object, **__: object) -> list[str]:
        return []

    monkeypatch.setattr(fake(bench), "list", nothing)
    assert "list-silent" in await held(bench)
    monkeypatch.undo()
    with pytest.raises(NotYetError, match="grace"):
        await bench.apply("confirm_gone")


# --- identities and clusters -----------------------------------------------------------------------


async def test_an_identity_with_the_recorded_client_id_elsewhere_has_moved(bench: Bench):
    identity_id = str(bench.intents["managed_identity"].outputs["resourceId"])
    there = bench.app.world.identities.pop(naming.fold_id(identity_id))
    successor = moved(identity_id)
    shouted = there.client_id.upper()
    bench.app.world.identities[naming.fold_id(successor)] = dataclasses.replace(
        there, resource_id=successor, client_id=shouted
    )
    bench.become(Kind.PRUNE, cause="identity", resource_id=identity_id)
    assert_moved(bench, await bench.apply("confirm_gone"), successor)
    bench.app.world.identities[naming.fold_id(successor)] = dataclasses.replace(
        there, resource_id=successor, client_id="another"
    )
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"
    bench.lose_record("managed_identity")
    assert "successor-unknown" in await held(bench)


async def test_a_cluster_with_the_recorded_issuer_elsewhere_has_moved(bench: Bench):
    issuer = bench.app.world.clusters[naming.fold_id(CLUSTER)].described.issuer
    bench.app.world.clusters.pop(naming.fold_id(CLUSTER))
    bench.app.world.resources.pop(naming.fold_id(CLUSTER))
    bench.app.world.add_cluster(moved(CLUSTER), issuer=issuer)
    bench.become(Kind.PRUNE, cause="cluster", resource_id=CLUSTER)
    assert (await bench.apply("confirm_gone")).ends_operation == "resource-moved"
    described = bench.app.world.clusters[naming.fold_id(moved(CLUSTER))].described
    bench.app.world.clusters[naming.fold_id(moved(CLUSTER))].described = dataclasses.replace(
        described, issuer="https://issuer.example/another/"
    )
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"


async def test_credentials_and_linkers_go_with_what_they_belong_to_and_are_not_searched(bench: Bench):
    identity_id = str(bench.intents["managed_identity"].outputs["resourceId"])
    bench.app.world.credentials[naming.fold_id(identity_id)].clear()
    gone = f"{identity_id}/federatedIdentityCredentials/x"
    bench.become(Kind.PRUNE, cause="credential", resource_id=gone)
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"
    assert "resources.list" not in bench.app.journal.names()
