"""Every rule of a prune has a name, one line for people, and a place in the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import retry
from shared.prune_rules import BY_RESULT, BY_WAIT, RULES, Verdict, of_result, of_wait
from tests.unit.pages import REFERENCE, ROOT, table_rows

PRUNE_WAITS = {reason for reason, rule in retry.WAITS.items() if rule.held} | {"confirm"}


def texts(file: Path) -> Iterator[str]:
    """String literals of a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def rules_named_by_calls() -> set[str]:
    """Literal rules that steps give to what they say."""
    found = set()
    for file in (ROOT / "shared" / "steps").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"remove", "keep", "say"}:
                found |= {
                    one.value
                    for one in node.args[1:2]
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
    return found


def test_the_page_of_prunes_has_every_rule_and_no_other():
    written = {
        row[0].strip("`"): (row[1], row[2])
        for row in table_rows(REFERENCE / "prunes.md", "## Rules")
        if len(row) == 3
    }
    assert written == {name: (rule.verdict.value, rule.meaning) for name, rule in RULES.items()}


def test_every_rule_that_a_step_names_is_in_the_table():
    named = rules_named_by_calls()
    assert {"protected-namespace", "keep-annotation", "live-linker", "last-user"} <= named
    assert named <= set(RULES)


def test_every_rule_of_the_table_is_named_somewhere_in_the_code():
    files = [one for one in (ROOT / "shared").rglob("*.py") if one.name != "prune_rules.py"]
    named = {text for file in files for text in texts(file)} | {
        f"proven-by-{one}" for one in ("uid", "nonce")
    }
    named |= set(BY_WAIT.values()) | set(BY_RESULT.values())
    reported = {name for name, rule in RULES.items() if rule.verdict is Verdict.REPORT}
    assert set(RULES) - named - reported == set()


@pytest.mark.parametrize("reason", sorted(PRUNE_WAITS))
def test_every_wait_of_a_prune_has_its_rule(reason: str):
    assert RULES[of_wait(reason)].verdict is Verdict.HOLD


def test_a_wait_that_any_operation_may_have_is_no_rule():
    assert of_wait("throttled") == ""


def test_an_early_end_has_its_rule_and_an_error_has_none():
    assert of_result("resource-alive") == "alive"
    assert of_result("superseded-by-delete") == "overtaken"
    assert of_result("attempts-exhausted") == ""
    assert {RULES[rule].verdict for rule in BY_RESULT.values()} == {Verdict.NOTHING, Verdict.KEEP}
