"""Runbooks can be followed: what they name exists, each alert leads to one, and none lacks a part.

What no file here can tell (``az``, Azure's own metrics) is in ``docs/live-checks.md``.
"""

import ast
import dataclasses
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import Settings
from tests.infra.deployment import Deployment
from tests.unit.pages import REFERENCE, ROOT, first_cells, pages, table_rows
from tests.unit.test_docs import routes

RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
LIVE = ROOT / "docs" / "live-checks.md"
DEPLOYING = ROOT / "docs" / "deploying.md"
PARTS = ("Symptom", "Query", "Cause", "Fix", "Undo")
MARKS = re.compile(r"not tried|not on a live subscription|nothing was tried", re.IGNORECASE)
"""How pages say that Azure itself has not been asked."""
UNMARKED = {"CHANGELOG.md", "CONTRIBUTING.md", "live-checks.md"}
"""Pages that speak of the marks themselves."""
HYPHENATED = re.compile(r"`([a-z]+(?:-[a-z]+)+)`")
OF_THE_TESTS = {"MOORING_BICEP_CHECKER"}


def by_name(page: Path) -> str:
    return page.stem


def route_pattern(route: str) -> re.Pattern[str]:
    """Matches a route with anything in the place of its parameters."""
    _, _, path = route.partition(" ")
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))


def calls(text: str) -> Iterator[tuple[str, str]]:
    """Method and path of each call of the API that a page names."""
    for line in text.replace("\\\n", " ").splitlines():
        for path in re.findall(r"\$APP(/api/[^\s\"'?|)]+)", line):
            method = re.search(r"-X ([A-Z]+)", line)
            yield (method[1] if method else "GET"), path
    for method, path in re.findall(r"`(GET|POST|DELETE|PUT) (/api/[^`?]+)[^`]*`", text):
        yield method, path


@functools.cache
def words_of_the_code() -> str:
    """All text of what is deployed, and of the pages that a test holds to it."""
    files = [
        *(ROOT / "shared").rglob("*.py"),
        *(ROOT / "handlers").rglob("*.py"),
        *(one for one in (ROOT / "infra").rglob("*") if one.is_file()),
        *REFERENCE.glob("*.md"),
        ROOT / "policy.sample.toml",
    ]
    return "\n".join(one.read_text(encoding="utf-8") for one in files)


@functools.cache
def logged_events() -> set[str]:
    found: set[str] = set()
    for folder in ("shared", "handlers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


@pytest.mark.parametrize("page", RUNBOOKS, ids=by_name)
def test_a_runbook_has_every_part(page: Path):
    text = page.read_text(encoding="utf-8")
    bold = re.findall(r"^\*\*([^*]+)\.\*\*", text, re.MULTILINE)
    said = {word for part in bold for word in re.split(r" and |, ", part.lower())}
    assert {part.lower() for part in PARTS} <= said


@pytest.mark.parametrize("page", [*RUNBOOKS, LIVE, DEPLOYING], ids=by_name)
def test_every_call_that_a_page_names_is_a_route(page: Path):
    known = [(route.partition(" ")[0], route_pattern(route)) for route in routes()]
    unknown = [
        f"{method} {path}"
        for method, path in calls(page.read_text(encoding="utf-8"))
        if not any(method == one and pattern.fullmatch(path) for one, pattern in known)
    ]
    assert unknown == []


@pytest.mark.parametrize("page", [*RUNBOOKS, LIVE, DEPLOYING], ids=by_name)
def test_every_post_of_a_command_has_a_body_if_an_empty_one(page: Path):
    """Without ``-d`` curl sends no length, which front ends may refuse (411)."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    posts = re.findall(r"-X POST [^`\n]*?\$APP/[^`\n|;]*", text)
    assert [one for one in posts if " -d " not in one] == []


def test_the_finder_of_calls_sees_commands_and_words():
    text = """curl -s -X POST -H "x-functions-key: $KEY" "$APP/api/connections/$ID/repair"
    `GET /api/orphans?a=b` and
    curl "$APP/api/sweeps" | jq ."""
    assert list(calls(text)) == [
        ("POST", "/api/connections/$ID/repair"),
        ("GET", "/api/sweeps"),
        ("GET", "/api/orphans"),
    ]
    assert sum(len(list(calls(page.read_text(encoding="utf-8")))) for page in RUNBOOKS) > 30
    assert not route_pattern("POST /api/connections/{connectionId}/repair").fullmatch(
        "/api/connections/x/y/repair"
    )


@pytest.mark.parametrize("page", RUNBOOKS, ids=by_name)
def test_every_code_or_name_that_a_runbook_quotes_is_one_of_ours(page: Path):
    quoted = set(HYPHENATED.findall(page.read_text(encoding="utf-8")))
    assert sorted(word for word in quoted if word not in words_of_the_code()) == []


@pytest.mark.parametrize("page", [*RUNBOOKS, LIVE, DEPLOYING], ids=by_name)
def test_every_setting_that_a_page_names_is_one_of_the_apps_or_the_templates(page: Path):
    known = {field.metadata["variable"] for field in dataclasses.fields(Settings)} | OF_THE_TESTS
    parameters = (ROOT / "infra" / "main.parameters.json").read_text(encoding="utf-8")
    known |= set(re.findall(r"\$\{(\w+)", parameters))
    named = set(re.findall(r"\bMOORING_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8")))
    assert sorted(named - known) == []


@pytest.mark.parametrize("page", RUNBOOKS, ids=by_name)
def test_every_log_line_that_a_query_asks_for_is_written(page: Path):
    asked = re.findall(r'message startswith "([\w-]+) ?"', page.read_text(encoding="utf-8"))
    assert sorted(set(asked) - logged_events()) == []


@pytest.mark.parametrize("page", RUNBOOKS, ids=by_name)
def test_every_variable_that_a_command_uses_is_explained_or_an_output_of_the_template(page: Path):
    outputs = re.findall(r"^output (\w+) ", Deployment(ROOT).text("main.bicep"), re.MULTILINE)
    text = page.read_text(encoding="utf-8")
    used = {name for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for name in _variables(block)}
    made = set(re.findall(r"(?:^\s*|read -r |for )([A-Z]+)(?:=|;| in )", text, re.MULTILINE))
    if "azd env get-values" in text:
        parameters = (ROOT / "infra" / "main.parameters.json").read_text(encoding="utf-8")
        made |= {"AZURE_SUBSCRIPTION_ID", *re.findall(r"\$\{(\w+)", parameters)}
    # `$ID` is a connection's by the words of the page.
    explained = {name for name in used if f"`${name}`" in text}
    assert sorted(used - {"APP", "KEY"} - set(outputs) - made - explained) == []


def _variables(block: str) -> set[str]:
    return set(re.findall(r"\$\{?([A-Z][A-Z_]*)", block))


def alerts() -> set[str]:
    deployment = Deployment(ROOT)
    named = {rule["name"] for rule in deployment.module("alerts").variables["rules"].value}
    topics, app = deployment.text("modules/event-subscriptions.bicep"), deployment.text("main.bicep")
    return named | set(re.findall(r"^\s+alert: '([a-z-]+)'$", topics + app, re.MULTILINE))


def test_every_alert_leads_to_a_runbook_that_exists():
    leads = json.loads((ROOT / "infra" / "runbooks.json").read_text(encoding="utf-8"))
    assert set(leads) == alerts()
    assert sorted(set(leads.values()) - {page.stem for page in RUNBOOKS}) == []


def test_every_alert_names_its_runbook_in_its_description():
    deployment = Deployment(ROOT)
    assert "docs/runbooks/${runbooks[rule.name]}.md" in deployment.text("modules/alerts.bicep")
    lost = deployment.text("modules/event-subscriptions.bicep")
    assert "docs/runbooks/${runbooks[loss.alert]}.md" in lost
    assert "docs/runbooks/${runbooks[alert]}.md" in deployment.text("modules/activity-alert.bicep")


def test_the_table_of_alerts_has_each_with_the_same_runbook():
    leads = json.loads((ROOT / "infra" / "runbooks.json").read_text(encoding="utf-8"))
    assert first_cells(DEPLOYING, "## Alerts") == set(leads)
    for row in table_rows(DEPLOYING, "## Alerts"):
        assert re.search(rf"\(runbooks/{leads[row[0].strip('`')]}\.md[#)]", row[2]), row[0]


def test_every_page_that_was_not_tried_is_among_the_live_checks():
    listed = LIVE.read_text(encoding="utf-8")
    marked = [
        page
        for page in pages()
        if page.name not in UNMARKED and MARKS.search(page.read_text(encoding="utf-8"))
    ]
    assert len(marked) > 15
    assert [page.name for page in marked if page.name not in listed] == []


def test_every_live_check_has_its_command():
    rows = table_rows(LIVE)
    assert len(rows) > 30
    assert [row[0] for row in rows if "`" not in row[1] or len(row) != 3] == []
