"""What a sweep says of slices that did not see what they were meant to see."""

import logging
import re
from collections.abc import Callable

import pytest

from shared.errors import PermanentError, StateConflictError, TransientError
from shared.naming import fold_id
from shared.sweeping import slice_log
from shared.sweeping.slices import DIED
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, SUBSCRIPTION, LocalApp
from tests.fakes.sweeps import connected, result, slice_of, swept
from tests.unit.pages import ROOT
from tests.unit.test_sweep_runs import died_in_every_try

LISTED = ("Secret", "ConfigMap", "SecretProviderClass")
"""Kinds whose lists are roles that may be left out."""


def incomplete(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """Fields of the lines of slices that saw too little."""
    return [
        dict(re.findall(r"(\w+)=(\S+)", record.getMessage()))
        for record in caplog.records
        if record.getMessage().startswith("slice-incomplete ") and record.levelno == logging.WARNING
    ]


def refusing(app: LocalApp, name: str, code: str, about: Callable[[Call], bool] = lambda _: True) -> None:
    def refuse(call: Call) -> BaseException | None:
        return PermanentError(code, "no") if call.name == name and about(call) else None

    app.journal.before = refuse


async def test_a_sweep_that_saw_everything_says_nothing(app: LocalApp, caplog: pytest.LogCaptureFixture):
    await connected(app)
    assert (await swept(app))["state"] == "done"
    assert incomplete(caplog) == []


async def test_an_unreadable_policy_is_told_though_the_sweep_is_done(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await connected(app)
    app.policy_file.write_text("version = 2")
    found = await swept(app)
    assert found["state"] == "done"
    [line] = incomplete(caplog)
    assert (line["sweep"], line["place"], line["details"]) == (found["id"], "aks1", "policy-unreadable")


async def test_a_subscription_of_which_a_list_is_refused_is_told(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await connected(app)
    refusing(app, "identities.list", "access-denied")
    await swept(app)
    [line] = incomplete(caplog)
    assert line["place"] == SUBSCRIPTION
    assert "identities-not-listed" in line["details"].split(",")


async def test_a_cluster_in_which_accounts_may_not_be_listed_has_lost_its_binding(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await connected(app)
    refusing(app, "clusters.list_objects", "kubernetes-access-denied")
    await swept(app)
    assert [(one["place"], one["details"]) for one in incomplete(caplog)] == [("aks1", "accounts-not-listed")]


async def test_a_cluster_without_the_role_for_sweeps_is_meant_to_be_so(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await connected(app)

    def refuse(call: Call) -> BaseException | None:
        kind = call.arguments[1] if call.name == "clusters.list_objects" else ""
        refused = call.name == "clusters.list_namespaces" or kind in LISTED
        return PermanentError("kubernetes-access-denied", "no") if refused else None

    app.journal.before = refuse
    found = await swept(app)
    assert set(found["details"]) == {"namespaces-not-listed", "objects-not-listed"}
    assert incomplete(caplog) == []


async def test_a_cluster_without_an_answer_is_left_to_its_own_alert(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await connected(app)
    app.world.clusters[fold_id(CLUSTER)].reachable = False
    assert (await swept(app))["details"] == {"unreachable": 1}
    assert incomplete(caplog) == []


async def test_a_slice_that_failed_for_good_is_told_with_its_code(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    refusing(app, "clusters.describe", "access-denied")
    await swept(app)
    assert [(one["place"], one["details"]) for one in incomplete(caplog)] == [("aks1", "access-denied")]


async def test_a_slice_whose_host_died_every_time_is_told(app: LocalApp, caplog: pytest.LogCaptureFixture):
    sweep_id = await died_in_every_try(app)
    assert (await result(app, sweep_id))["state"] == "done"
    assert [(one["place"], one["details"]) for one in incomplete(caplog)] == [("aks1", DIED)]


# --- what nobody foresaw --------------------------------------------------------------------------


async def test_what_a_slice_did_not_foresee_is_logged_tried_again_and_told(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await connected(app)
    app.journal.before = lambda call: KeyError("a secret") if call.name == "clusters.describe" else None
    found = await swept(app)
    assert (found["state"], found["details"]) == ("done", {"unexpected": 1})
    lines = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(lines) == 5
    cluster = await slice_of(app, found["id"], "cluster")
    for line in lines:
        assert line.startswith(
            f"slice-unexpected sweep={found['id']} slice={cluster.slice_id} error=KeyError at="
        )
        assert re.search(r"[>=]\w+\.py:\d+$", line)
    assert "a secret" not in caplog.text
    assert [one["details"] for one in incomplete(caplog)] == ["unexpected"]


async def test_what_a_slice_did_not_foresee_once_leaves_nothing_behind(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    await connected(app)
    met = []

    def odd(call: Call) -> BaseException | None:
        if call.name == "clusters.describe" and not met:
            met.append(call)
            return ZeroDivisionError()
        return None

    app.journal.before = odd
    found = await swept(app)
    assert (found["state"], found["details"], found["totals"]["connections"]) == ("done", {}, 1)
    assert incomplete(caplog) == []


# --- one that fails for a while among others ------------------------------------------------------


@pytest.mark.parametrize("error", [TransientError("service-error", "no"), StateConflictError("moved")])
async def test_one_connection_that_never_answers_does_not_keep_the_others_from_being_looked_at(
    app: LocalApp, caplog: pytest.LogCaptureFixture, error: TransientError
):
    bad = await connected(app)
    good = await connected(app, "another", clientType="java")
    tries: list[Call] = []

    def broken(call: Call) -> BaseException | None:
        read = (
            call.name == "state.query" and call.arguments[1] == bad and call.options.get("key_from") == "a|"
        )
        if read:
            tries.append(call)
        return error if read else None

    app.journal.before = broken
    app.world.clusters[fold_id(CLUSTER)].objects.clear()
    found = await swept(app)
    assert good != bad
    assert found["state"] == "done"
    assert found["details"] == {error.code: 2}, "its cluster's slice and its subscription's"
    assert found["totals"]["connectionsFailed"] == 2
    assert found["totals"]["drift"]["object-missing"] >= 1, "of the other one"
    assert len(tries) == 10, "five of each slice"
    assert {one["details"] for one in incomplete(caplog)} == {error.code}


# --- the list and the page ------------------------------------------------------------------------


def test_the_page_and_the_query_name_the_same():
    page = (ROOT / "docs" / "reference" / "sweeps.md").read_text(encoding="utf-8")
    [said] = re.findall(r"`slice-incomplete` tells at level warning(.*?)\n\n", page, re.DOTALL)
    told = set(re.findall(r"`([a-z-]+)`", said)) - {"sweep-incomplete", "cluster-silent"}
    of_things = {one for one in slice_log.EXPECTED if one.startswith("orphan-")} | {"policy-denied"}
    assert told == slice_log.EXPECTED - of_things
    query = (ROOT / "infra" / "queries" / "sweep-incomplete.kql").read_text(encoding="utf-8")
    wanted = set(re.findall(r'@"(\w+)=', query))
    assert wanted == {"sweep", "place", "details"}
