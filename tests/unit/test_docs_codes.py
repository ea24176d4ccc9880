"""Every error code has its line in the documents, and no line is left over."""

import ast
from collections.abc import Iterator

from shared import retry
from shared.catalogue import catalogue
from shared.clients import error_rules, sqlstates
from shared.models import Kind
from shared.precedence import TABLE
from tests.unit.pages import (
    CODE,
    REFERENCE,
    ROOT,
    first_cells,
)

# Position of the code among the arguments of whatever makes or raises one.
MAKERS = {
    "TransientError": 0,
    "PermanentError": 0,
    "RefusedError": 0,
    "GiveUp": 0,
    "_broken": 0,
    "broken": 0,
    "Verdict": 0,
    "problem": 0,
    "_refuse": 3,
    "_NotForUsError": 1,
    "_rejected": 0,
    "_Rule": 0,
    "_text": 2,
    "__init__": 0,
}
ANSWERING = {"pointless", "subject_fault", "data_fault"}
"""Functions that answer a code."""


def literal(node: ast.expr | None) -> str:
    found = node.value if isinstance(node, ast.Constant) else None
    return found if isinstance(found, str) and CODE.fullmatch(found) else ""


def branches(node: ast.expr) -> tuple[ast.expr, ...]:
    return (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,)


def codes_of_call(node: ast.Call) -> Iterator[str]:
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    position = MAKERS.get(name)
    if position is not None and len(node.args) > position:
        yield from map(literal, branches(node.args[position]))
    yield from (literal(word.value) for word in node.keywords if word.arg == "ends_operation")


def codes_of_assignment(node: ast.Assign) -> Iterator[str]:
    for target in node.targets:
        first, value = target, node.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            first, value = target.elts[0], value.elts[0]
        name = first.id if isinstance(first, ast.Name) else ""
        if name == "code":
            yield from map(literal, branches(value))
        if name == "_CODES":
            pairs = (pair for pair in ast.walk(value) if isinstance(pair, ast.Tuple))
            yield from (literal(pair.elts[0]) for pair in pairs)


def codes_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from codes_of_call(node)
        elif isinstance(node, ast.Assign):
            yield from codes_of_assignment(node)
        elif isinstance(node, ast.FunctionDef) and node.name == "_text":
            yield from map(literal, node.args.defaults)
        elif isinstance(node, ast.FunctionDef) and node.name in ANSWERING:
            ends = (end.value for end in ast.walk(node) if isinstance(end, ast.Return) and end.value)
            yield from (literal(branch) for end in ends for branch in branches(end))


def codes_of_the_code() -> set[str]:
    files = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "handlers").rglob("*.py")]
    found = {code for file in files for code in codes_of(ast.parse(file.read_text(encoding="utf-8")))}
    found |= {rule.code for rules in error_rules.RULES.values() for rule in rules.values()}
    found |= {rule.code for rule in error_rules.STATUS_RULES.values()}
    found |= {condition.code for row in catalogue().rows for condition in row.requires}
    found |= {sqlstates.OTHER.code, *(rule.code for rule in sqlstates.STATES.values())}
    kinds = [kind for row in catalogue().rows for kind in row.auth.values()]
    found |= {condition.code for kind in kinds for condition in kind.requires or ()}
    found |= {error_rules.NO_ANSWER.code, error_rules.UNKNOWN.code}
    found |= {rule.code for rule in retry.WAITS.values() if rule.deadline_seconds is not None}
    found |= {f"superseded-by-{newcomer}" for newcomer in Kind if "overtake" in TABLE[newcomer].values()}
    # One name is both: a request is refused, a prune waits.
    return found - {""} - (set(retry.WAITS) - {"policy-unreadable"})


def test_every_error_code_has_its_line_and_no_line_is_left_over():
    written = first_cells(REFERENCE / "errors.md")
    assert written == codes_of_the_code()


def test_the_finder_of_codes_sees_each_way_of_making_one():
    found = codes_of_the_code()
    assert {"reserved-property", "wrong-type", "invalid-name", "invalid-id", "unknown-action"} <= found
    assert {"subject-mismatch", "not-a-step", "resource-alive", "scope-locked", "not-found-unproven"} <= found
    assert {"state-conflict", "attempts-exhausted", "never-settled", "cluster-unreachable"} <= found
