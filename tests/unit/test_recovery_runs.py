"""A recovery as such: clusters that cannot be looked at, slices, crashes, races."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.errors import PermanentError, TransientError
from shared.ports import Upsert
from shared.recovering.rebuilding import Rebuilder
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, VAULT, LocalApp, create_body, delete_body, make_app
from tests.fakes.recoveries import (
    answered,
    begun,
    finished,
    lose_tables,
    outcomes,
    recovered,
    secret_of,
)
from tests.fakes.sweeps import connected, pumped

OTHER = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/canary"
GIVEN = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/given"
ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


# --- clusters that cannot be looked at ------------------------------------------------------------


def unreachable(app: LocalApp) -> None:
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = False


def may_not_list(app: LocalApp) -> None:
    app.clusters.may_list = False


def unreadable_policy(app: LocalApp) -> None:
    app.policy_file.write_text("version = 2")


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (unreachable, "unreachable"),
        (may_not_list, "objects-not-listed"),
        (unreadable_policy, "policy-unreadable"),
        (lambda app: app.world.remove(CLUSTER), "cluster-gone"),
    ],
    ids=["unreachable", "may-not-list", "policy", "gone"],
)
async def test_a_cluster_that_cannot_be_looked_at_is_told_and_nothing_is_recorded(
    change: Callable[[LocalApp], None], detail: str, app: LocalApp
):
    await connected(app)
    lose_tables(app)
    change(app)
    result = await recovered(app)
    assert (result["state"], result["connections"]) == ("done", [])
    assert detail in result["details"]


async def test_a_cluster_that_no_rule_lists_is_asked_nothing(app: LocalApp):
    await connected(app)
    lose_tables(app)
    app.policy_file.write_text(
        app.policy_file.read_text().replace("managedClusters/aks1", "managedClusters/aks2")
    )
    since = len(app.journal.calls)
    assert (await recovered(app))["connections"] == []
    asked = {call.name for call in app.journal.calls[since:] if call.name.startswith("clusters.")}
    assert asked <= {"clusters.describe"}


async def test_clusters_that_the_policy_names_by_pattern_are_found_in_azure(app: LocalApp):
    await connected(app)
    lose_tables(app)
    app.policy_file.write_text(
        app.policy_file.read_text().replace("managedClusters/aks1", "managedClusters/*")
    )
    assert outcomes(await recovered(app)) == {"orders-blob": "recovered"}


async def test_a_subscription_that_may_not_be_listed_leaves_those_that_the_policy_names_and_is_told(
    app: LocalApp,
):
    await connected(app)
    lose_tables(app)

    def refused(call: Call) -> BaseException | None:
        return PermanentError("access-denied") if call.name == "resources.list" else None

    app.journal.before = refused
    result = await recovered(app)
    assert (outcomes(result), result["details"]) == ({"orders-blob": "recovered"}, {})
    lose_tables(app)
    app.policy_file.write_text(
        app.policy_file.read_text().replace("managedClusters/aks1", "managedClusters/*")
    )
    result = await recovered(app)
    assert (outcomes(result), result["details"]) == ({}, {"clusters-not-listed": 1})


# --- slices, crashes, races -----------------------------------------------------------------------


class Crash(BaseException):
    """The host dies."""


async def two(app: LocalApp) -> None:
    await connected(app)
    await connected(app, "orders-keys", target={"type": "keyvault", "id": VAULT})
    lose_tables(app)


async def test_a_recovery_goes_on_in_new_messages_when_its_time_is_up(tmp_path: Path):
    app = make_app(tmp_path, MOORING_SWEEP_SLICE_SECONDS="60")
    for number in range(17):
        await connected(app, f"orders{number}", workload=f"orders{number}")
    lose_tables(app)

    def slow(call: Call) -> None:
        if call.name == "identities.list_credentials":
            app.clock.advance(61)

    app.journal.before = slow
    result = await recovered(app)
    assert outcomes(result) == {f"orders{number}": "recovered" for number in range(17)}
    assert result["totals"]["connections"] == {"recovered": 17}
    assert [one["messages"] for one in result["slices"]] == [3], "eight at a time"


async def test_a_recovery_that_dies_anywhere_is_carried_to_its_end(tmp_path: Path):
    whole = make_app(tmp_path)
    await two(whole)
    since = len(whole.journal.calls)
    await recovered(whole)
    calls = len(whole.journal.calls) - since
    wanted = bodies(whole)
    died = 0
    for number in range(1, calls + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        app = make_app(folder)
        await two(app)
        recovery_id = await begun(app, write=True)
        first = len(app.journal.calls)

        def crash(call: Call, at: int = first + number) -> BaseException | None:
            return Crash() if call.number == at else None

        app.journal.after = crash
        try:
            await pumped(app)
        except Crash:
            died += 1
        app.journal.after = None
        app.clock.advance(400)
        await app.services.sweeping.sweeper.tend()
        result = await finished(app, recovery_id)
        assert result["state"] == "done"
        assert set(outcomes(result).values()) == {"recovered"}, "also what an earlier run put on record"
        assert bodies(app) == wanted, f"died at call {number}"
    assert died > 25


def bodies(app: LocalApp) -> list[tuple[str, str, str]]:
    found = []
    for table in ("connections", "users", "dependents"):
        for row in app.store.rows(table):
            body = json.loads(str(row.columns["body"]))
            body.pop("users", None)  # in the order in which they came
            text = re.sub(r'("nonces?": \[?)"\w+"', r'\1""', json.dumps(body, sort_keys=True))
            found.append((row.partition, row.key, text))
    return found


async def test_azures_hiccups_are_tried_again(app: LocalApp):
    await two(app)
    left = [3]

    def hiccup(call: Call) -> BaseException | None:
        if call.name == "roles.list_for_principal" and left[0]:
            left[0] -= 1
            return TransientError("service-unavailable")
        return None

    app.journal.before = hiccup
    assert set(outcomes(await recovered(app)).values()) == {"recovered"}


async def test_a_create_that_comes_first_is_left_as_it_is(app: LocalApp, monkeypatch: pytest.MonkeyPatch):
    """Between the look and the write of a recovery somebody sends the create request again."""
    await connected(app)
    lose_tables(app)
    sent: list[Any] = []

    async def race(self: Rebuilder, seen: Any, *, now: Any) -> bool:
        sent.append(await app.send(create_body(), message_id="again"))
        return await write(self, seen, now=now)

    write = Rebuilder.write
    monkeypatch.setattr(Rebuilder, "write", race)
    assert outcomes(await recovered(app)) == {"orders-blob": "on-record"}
    await app.settle()
    assert (sent[0].outcome, await app.state(ID)) == ("opened", "configured")
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600.0)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_a_recovery_that_was_cut_while_azure_did_not_answer_is_cut_by_the_timer(app: LocalApp):
    await connected(app)
    lose_tables(app)
    app.journal.before = lambda call: TransientError("timeout") if call.name == "resources.list" else None
    with pytest.raises(TransientError):
        await begun(app, write=True)
    app.journal.before = None
    current = await app.services.sweeping.sweeps.current()
    assert current is not None
    assert await app.services.sweeping.sweeper.tend() == 1
    assert outcomes(await finished(app, current.value.sweep_id)) == {"orders-blob": "recovered"}
    assert (await answered(app, current.value.sweep_id))["askedBy"] == "recovery"


async def test_what_is_being_removed_is_waited_for(app: LocalApp):
    """The users row names an operation that nobody knows any more: void after a lease."""
    await connected(app)
    [row] = [one for one in app.store.rows("users") if "identity|" in str(one.columns["body"])]
    lose_tables(app)
    body = {**json.loads(str(row.columns["body"])), "closing": f"{ID}-0123456789ab"}
    closing = Upsert(key=row.key, columns={**row.columns, "body": json.dumps(body)})
    await app.store.transact("users", row.partition, [closing])
    assert outcomes(await recovered(app)) == {"orders-blob": "recovered"}


async def test_a_policy_that_changes_meanwhile_ends_the_look(app: LocalApp):
    await connected(app)
    lose_tables(app)
    recovery_id = await begun(app, write=True)
    app.policy_file.write_text(app.policy_file.read_text().replace("/aks1", "/aks2"))
    result = await finished(app, recovery_id)
    assert (result["connections"], result["details"]) == ([], {"not-in-policy": 1})


@pytest.mark.parametrize("created_at", ["", "yesterday", "2026-11-22T10:00:00"])
async def test_an_object_without_a_sound_age_is_as_old_as_the_recovery(created_at: str, app: LocalApp):
    await connected(app)
    lose_tables(app)
    secret_of(app).created_at = created_at
    await recovered(app)
    stored = await app.services.state.connection(ID)
    current = await app.services.sweeping.sweeps.current()
    assert stored is not None
    assert current is not None
    assert stored.value.created_at == current.value.started_at


async def test_one_that_is_on_record_before_its_sibling_is_not_taken_for_the_last_user(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    await two(app)
    writes: list[str] = []

    async def only_the_first(self: Rebuilder, seen: Any, *, now: Any) -> bool:
        writes.append(seen.spec.name)
        if seen.spec.name != writes[0]:
            raise TransientError("table-unavailable")
        return await write(self, seen, now=now)

    write = Rebuilder.write
    monkeypatch.setattr(Rebuilder, "write", only_the_first)
    result = await recovered(app)
    assert result["details"] == {"table-unavailable": 1}
    await app.send(delete_body(writes[0]), message_id="d")
    await app.settle(seconds=3600.0)
    assert await app.state(naming.connection_id(CLUSTER, "shop", writes[0])) == "deleted"
    assert len(app.leftovers()["identities"]) == 1, "the other works through it"
    monkeypatch.undo()
    other = next(name for name in ("orders-blob", "orders-keys") if name != writes[0])
    assert outcomes(await recovered(app)) == {other: "recovered"}
    await app.send(delete_body(other), message_id="d2")
    await app.settle(seconds=3600.0)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}
