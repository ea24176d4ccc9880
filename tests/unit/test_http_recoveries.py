"""Recoveries over HTTP."""

import ast
from pathlib import Path
from typing import Any

import pytest

from shared.inscription import ANNOTATION_REQUEST
from shared.recovering import survey
from shared.recovering.recoveries import Outcome
from shared.recovering.recovery_slice import SIBLING
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import LocalApp
from tests.fakes.recoveries import lose_tables
from tests.fakes.sweeps import begun, connected, pumped
from tests.unit.pages import REFERENCE, ROOT, first_cells


@pytest.fixture
def http(app: LocalApp) -> HttpApp:
    return HttpApp(app)


async def finish(app: LocalApp) -> None:
    while await pumped(app):
        pass
    app.clock.advance(1)


async def test_a_recovery_looks_only_unless_it_is_told_to_write(app: LocalApp, http: HttpApp):
    await connected(app)
    lose_tables(app)
    for body, dry, outcome in [
        (None, True, "would-recover"),
        ({}, True, "would-recover"),
        ({"write": False}, True, "would-recover"),
        ({"write": True}, False, "recovered"),
        ({"write": True}, False, "on-record"),
    ]:
        status, opened, headers = await http.call("post_recovery", body=body)
        assert (status, opened["outcome"]) == (202, "opened")
        assert headers["Location"].endswith(f"/api/recoveries/{opened['recoveryId']}")
        status, shown, headers = await http.call("get_recovery", recoveryId=opened["recoveryId"])
        assert (status, shown["state"], headers["Retry-After"]) == (200, "running", "2")
        await finish(app)
        status, shown, headers = await http.call("get_recovery", recoveryId=opened["recoveryId"].upper())
        assert (status, shown["state"], "Retry-After" in headers) == (200, "done", False)
        assert (shown["dryRun"], shown["truncated"]) == (dry, False)
        [one] = shown["connections"]
        assert one["outcome"] == outcome
        assert set(one) == {
            "connectionId",
            "clusterId",
            "namespace",
            "object",
            "name",
            "workload",
            "targetId",
            "identityId",
            "outcome",
            "reason",
            "detail",
            "notes",
        }


async def test_the_same_again_attaches_and_another_has_to_wait(app: LocalApp, http: HttpApp):
    _, first, _ = await http.call("post_recovery", body={"write": True})
    status, again, _ = await http.call("post_recovery", body={"write": True})
    assert (status, again) == (202, {"outcome": "attached", "recoveryId": first["recoveryId"]})
    status, problem, _ = await http.call("post_recovery")
    assert (status, problem["code"], first["recoveryId"] in problem["detail"]) == (
        409,
        "sweep-under-way",
        True,
    )


async def test_a_recovery_waits_for_a_sweep_and_a_sweep_is_no_recovery(app: LocalApp, http: HttpApp):
    await connected(app)
    sweep_id = await begun(app)
    status, problem, _ = await http.call("post_recovery")
    assert (status, problem["code"]) == (409, "sweep-under-way")
    assert (await http.call("get_recovery", recoveryId=sweep_id))[0] == 404
    await finish(app)
    assert (await http.call("post_recovery"))[0] == 202


@pytest.mark.parametrize("recovery_id", ["nothing", "20261126t120700-0123abcd", "a/b"])
async def test_a_recovery_that_does_not_exist_is_not_found(recovery_id: str, http: HttpApp):
    status, problem, _ = await http.call("get_recovery", recoveryId=recovery_id)
    assert (status, problem["code"]) == (404, "not-found")


@pytest.mark.parametrize(
    "body", [[], {"write": "true"}, {"write": 1}, {"Write": True}, {"write": True, "dryRun": True}]
)
async def test_a_body_that_says_something_else_is_refused(body: Any, app: LocalApp, http: HttpApp):
    status, problem, _ = await http.call("post_recovery", body=body)
    assert (status, problem["code"]) == (400, "invalid-recovery")
    assert await app.services.sweeping.sweeps.current() is None


@pytest.mark.parametrize("body", [b"write", b'{"write": true, "write": false}', b"{" + b" " * 2000 + b"}"])
async def test_a_body_that_is_no_json_object_is_refused(body: bytes, app: LocalApp, http: HttpApp):
    assert (await http.call("post_recovery", body=body))[0] in {400, 413}
    assert await app.services.sweeping.sweeps.current() is None


async def test_what_a_recovery_found_goes_with_it_when_its_time_is_over(app: LocalApp, http: HttpApp):
    await connected(app)
    await http.call("post_recovery", body={"write": True})
    await finish(app)
    assert [row for row in app.store.rows("sweeps") if row.key.startswith("found|")]
    app.clock.advance(91 * 86400.0)
    await app.services.sweeping.sweeps.forget_before(app.clock.now(), limit=10)
    assert not [row for row in app.store.rows("sweeps") if row.key.startswith("found|")]


# --- the page -------------------------------------------------------------------------------------

PAGE = REFERENCE / "recovery.md"


def test_the_page_has_every_reason_note_and_outcome():
    tree = ast.parse(Path(survey.__file__).read_text(encoding="utf-8"))
    raised = {
        str(node.args[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Unknown"
        and isinstance(node.args[0], ast.Constant)
    }
    claims = {
        str(word.value.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Claim"
        for word in node.keywords
        if word.arg == "reason" and isinstance(word.value, ast.Constant)
    }
    assert first_cells(PAGE, "## Reasons") == raised | claims | {SIBLING}
    assert len(raised) > 5
    notes = {survey.TARGET_GONE, survey.ACCOUNT_MISSING, survey.ROLES_LEFT}
    assert first_cells(PAGE, "## Notes") == notes
    assert first_cells(PAGE, "## Outcomes") == {one.value for one in Outcome}
    assert ANNOTATION_REQUEST in PAGE.read_text(encoding="utf-8")
    assert ANNOTATION_REQUEST in (ROOT / "docs" / "adr" / "2026-11-26-31-recovery.md").read_text(
        encoding="utf-8"
    )
