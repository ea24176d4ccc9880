"""The documents say what the code does: names, numbers and codes are compared, links are followed.

The tables of ``settings.md`` and ``targets.md`` are generated. To write them again after a change::

    .venv/bin/python -m tests.unit.test_docs
"""

import ast
import dataclasses
import inspect
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from sandbox.catalogue import table
from shared import plans, retry, rows
from shared.catalogue import catalogue
from shared.clients import error_rules, sqlstates
from shared.models import Cause, Connection, ConnectionId, ConnectionState, Direction, Kind
from shared.precedence import TABLE
from shared.settings import Settings
from shared.spec import ConnectionSpec

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
SETTINGS_PAGE = REFERENCE / "settings.md"
TARGETS_PAGE = REFERENCE / "targets.md"
BEGIN, END = "<!-- begin generated -->\n", "<!-- end generated -->"
SKIPPED_FOLDERS = {".venv", "node_modules", ".sandbox", ".git", ".pytest_cache"}
CODE = re.compile(r"[a-z]+(-[a-z0-9]+)*")


def pages() -> list[Path]:
    found = ROOT.rglob("*.md")
    return sorted(page for page in found if not SKIPPED_FOLDERS & set(page.relative_to(ROOT).parts))


def table_rows(page: Path, heading: str = "") -> list[list[str]]:
    """Cells of every table row below a heading (up to the next of any level), header rows left out."""
    text = page.read_text(encoding="utf-8")
    if heading:
        text = re.split(r"^#+ ", text.split(f"\n{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = text.splitlines()
    cells = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for index, line in enumerate(lines)
        if line.startswith("|")
        and index + 1 < len(lines)
        and not set(line) <= set("|-: ")
        # a row that is followed by the dashes is a header
        and not (set(lines[index + 1]) <= set("|-: ") and lines[index + 1].startswith("|"))
    ]
    return [*cells, *([_last(lines)] if _last(lines) else [])]


def _last(lines: list[str]) -> list[str]:
    if lines and lines[-1].startswith("|"):
        return [cell.strip() for cell in lines[-1].strip().strip("|").split("|")]
    return []


def first_cells(page: Path, heading: str = "") -> set[str]:
    """Names in backticks in the first cell of every table row."""
    return {name for row in table_rows(page, heading) for name in re.findall(r"`([^`]+)`", row[0])}


# --- settings -----------------------------------------------------------------------------------------


def settings_table() -> str:
    """The table of the settings page, from the fields of ``shared.settings.Settings``."""
    body = ast.parse(textwrap.dedent(inspect.getsource(Settings))).body[0]
    assert isinstance(body, ast.ClassDef)
    meanings: dict[str, str] = {}
    for statement, follower in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(follower, ast.Expr)
            and isinstance(follower.value, ast.Constant)
        ):
            meanings[statement.target.id] = " ".join(str(follower.value.value).split()).replace("``", "`")
    lines = ["| setting | meaning | default |", "|---|---|---|"]
    for field in dataclasses.fields(Settings):
        default = field.metadata["default"]
        shown = "required" if default is None else f"`{default}`" if default else "empty"
        lines.append(f"| `{field.metadata['variable']}` | {meanings[field.name]} | {shown} |")
    return "\n".join(lines) + "\n"


def with_generated_part(text: str, generated: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{generated}{END}{after}"


def test_the_settings_page_is_what_the_code_says():
    text = SETTINGS_PAGE.read_text(encoding="utf-8")
    assert text == with_generated_part(text, settings_table()), (
        "write it again: .venv/bin/python -m tests.unit.test_docs"
    )


# --- error codes --------------------------------------------------------------------------------------

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
        elif isinstance(node, ast.FunctionDef) and node.name == "pointless":
            yield from (literal(end.value) for end in ast.walk(node) if isinstance(end, ast.Return))


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


# --- waits, precedence, steps -------------------------------------------------------------------------


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
    assert set(written) == {"target", "identity", "credential", "linker", "cluster"}
    assert written == expected


# --- interfaces ---------------------------------------------------------------------------------------


def routes() -> Iterator[str]:
    for file in (ROOT / "handlers").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "route":
                methods = next(word.value for word in node.keywords if word.arg == "methods")
                for method in ast.literal_eval(methods):
                    yield f"{method} /api/{ast.literal_eval(node.args[0])}"


def test_the_http_page_has_every_route():
    text = (REFERENCE / "http.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### `([A-Z]+ /api/[^`]+)`$", text, re.MULTILINE)) == set(routes())


def properties(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for value in schema.values():
            yield from properties(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from properties(value)


def test_the_messages_page_has_every_property_of_the_schema():
    schema = json.loads((REFERENCE / "connection-request.schema.json").read_text(encoding="utf-8"))
    written = first_cells(REFERENCE / "messages.md", "### Properties")
    assert {name.rsplit(".", 1)[-1] for name in written} == set(properties(schema))


def test_the_messages_page_has_every_target_type_that_works():
    text = (REFERENCE / "messages.md").read_text(encoding="utf-8").split("\n### Target types\n", 1)[1]
    listed = text.strip().split("\n\n")[1]
    assert re.findall(r"`([^`]+)`", listed) == [row.name for row in catalogue().working]


def test_the_targets_page_is_what_the_catalogue_says():
    text = TARGETS_PAGE.read_text(encoding="utf-8")
    assert text == with_generated_part(text, table() + "\n"), (
        "write it again: .venv/bin/python -m tests.unit.test_docs"
    )


def test_the_tables_page_has_every_table():
    text = (REFERENCE / "tables.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## `(\w+)`$", text, re.MULTILINE)) == set(rows.TABLES)


@pytest.mark.parametrize(
    "file", ["role.yaml", "role-prove.yaml", "role-sweep.yaml", "role-secrets-store.yaml"]
)
def test_the_permissions_page_has_every_verb_that_the_cluster_role_grants(file: str):
    role = yaml.safe_load((ROOT / "infra" / "kubernetes" / file).read_text(encoding="utf-8"))
    granted = {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    written = {
        (resource, verb)
        for row in table_rows(REFERENCE / "permissions.md", f"### `{file}`")
        for resource in re.findall(r"`([^`]+)`", row[0])
        for verb in re.findall(r"`([^`]+)`", row[1])
    }
    assert written == granted


def test_the_permissions_page_has_every_action_that_the_roles_grant():
    text = (REFERENCE / "permissions.md").read_text(encoding="utf-8")
    written = set()
    for first, more in re.findall(r"`(Microsoft\.[\w./]+)`((?:, `/\w+`)*)", text):
        stem = first.rsplit("/", 1)[0]
        written |= {first, *(stem + ending for ending in re.findall(r"`(/\w+)`", more))}
    granted: set[str] = set()
    for file in (ROOT / "infra" / "roles").glob("*.json"):
        granted.update(json.loads(file.read_text(encoding="utf-8")).get("actions", ()))
    assert written == granted


def test_the_map_has_every_module_of_the_layers():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    modules = {name for layer in layers for name in re.findall(r"shared\.(\w+)", layer)}
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {name for name in modules if not re.search(rf"[`/]{name}(?:\.py|/)?`", text)} == set()


# --- all pages ----------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"src(?:set)?=\"([^\"]+)\"", text)


def test_every_relative_link_leads_somewhere():
    broken = []
    for page in pages():
        for link in links(page):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = page if not path else (page.parent / path).resolve()
            there = target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))
            broken += [] if there else [f"{page.relative_to(ROOT)}: {link}"]
    assert broken == []


def test_there_are_links_to_follow():
    assert sum(len(links(page)) for page in pages()) > 30


def test_every_page_below_docs_is_in_its_index():
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    docs = ROOT / "docs"
    below = [page for page in pages() if docs in page.parents and page.name != "README.md"]
    assert [page.name for page in below if f"({page.relative_to(docs)})" not in text] == []


def test_every_make_target_that_is_named_exists():
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        name
        for page in pages()
        for name in re.findall(r"(?:`|^|\$ )make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {"demo", "test"} <= named <= known


def test_no_page_names_a_place_on_somebodys_machine():
    place = re.compile(r"(?<![\w.}\]/])/(?:home|work|root|Users|tmp|mnt|opt|private)/|[A-Z]:\\\\")
    found = [
        f"{page.relative_to(ROOT)}: {line}"
        for page in pages()
        for line in page.read_text(encoding="utf-8").splitlines()
        if place.search(line)
    ]
    assert found == []


if __name__ == "__main__":
    for page, generated in ((SETTINGS_PAGE, settings_table()), (TARGETS_PAGE, table() + "\n")):
        page.write_text(with_generated_part(page.read_text(encoding="utf-8"), generated), encoding="utf-8")
