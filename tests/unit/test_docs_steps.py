"""The pages on waits, precedence and steps say what the code does."""

import ast
import re
from datetime import UTC, datetime

from shared import plans, retry
from shared.catalogue import catalogue
from shared.models import Cause, Connection, ConnectionId, ConnectionState, Direction, Kind
from shared.precedence import TABLE
from shared.spec import ConnectionSpec
from tests.unit.pages import (
    REFERENCE,
    ROOT,
    table_rows,
)
from tests.unit.test_docs_codes import literal


def number(text: str) -> float | None:
    return None if text == "for ever" else float(text.replace(" ", ""))


def test_the_waits_page_has_every_reason_with_its_times():
    written = {
        row[0].strip("`"): (number(row[1]), number(row[2]), row[3] == "yes", row[4].strip("`"))
        for row in table_rows(REFERENCE / "waits.md", "## Waiting reasons")
    }
    assert written == {
        reason: (
            rule.interval_seconds,
            rule.deadline_seconds,
            rule.held,
            rule.code if rule.deadline_seconds is not None else "",
        )
        for reason, rule in retry.WAITS.items()
    }


def test_the_waits_page_has_every_pace_with_its_times():
    written = {
        row[0].strip("`"): (number(row[1]), number(row[2]))
        for row in table_rows(REFERENCE / "waits.md", "## Paces")
    }
    assert written == {
        pace.value: (backoff.first_seconds, backoff.longest_seconds) for pace, backoff in retry.PACES.items()
    }


def test_every_waiting_reason_that_the_code_names_is_known():
    named: set[str] = set()
    for file in (ROOT / "shared").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "NotYetError" and node.args:
                named.add(literal(node.args[0]))
    named |= {condition.waits for row in catalogue().rows for condition in row.requires}
    assert named - {""} <= set(retry.WAITS)


def test_the_precedence_page_is_the_table_of_the_code():
    lines = table_rows(REFERENCE / "precedence.md", "## The table")
    written = {
        Kind(row[0].strip("`")): dict(zip(Kind, (cell.strip("`") for cell in row[1:]), strict=True))
        for row in lines
    }
    assert written == {
        newcomer: {under_way: decision.value for under_way, decision in row.items()}
        for newcomer, row in TABLE.items()
    }


def test_the_steps_page_has_one_section_for_each_step():
    text = (REFERENCE / "steps.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### `(\w+)`$", text, re.MULTILINE)) == set(plans.steps())


def test_the_steps_page_gives_create_and_delete_in_their_order():
    text = (REFERENCE / "steps.md").read_text(encoding="utf-8")
    for names in (plans.CREATE, ("quiesce", *plans.REVERT, "verify_gone")):
        assert " → ".join(f"`{name}`" for name in names) in text


def test_the_steps_page_says_what_each_cause_prunes():
    now = datetime.now(UTC)
    spec = ConnectionSpec(
        name="n", cluster_id="c", namespace="d", workload="w", target_type="storage-blob", target_id="t"
    )
    connection = Connection(
        connection_id=ConnectionId("0" * 24),
        spec=spec,
        body_hash="",
        state=ConnectionState.CONFIGURED,
        created_at=now,
    )
    rows_of_page = table_rows(REFERENCE / "steps.md", "## Plans")
    written = {}
    for row in rows_of_page:
        if len(row) == 3:
            written[row[0].strip("`")] = (re.findall(r"`(\w+)`", row[1]), row[2].strip("`"))
    expected = {}
    for kind in written:
        cause = Cause(kind=kind, resource_id="r")
        planned = plans.plan(Kind.PRUNE, connection=connection, cause=cause)
        names = [step.name for step in planned if step.direction is Direction.REVERT]
        end = plans.end_state(Kind.PRUNE, cause)
        assert end is not None
        expected[kind] = (names, end.value)
    assert set(written) == set(plans.PRUNED_BY_CAUSE)
    assert written == expected
