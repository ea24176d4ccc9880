"""The page on observability has the metrics of the code. To write its table again after a change::

.venv/bin/python -m tests.unit.test_docs_observability
"""

import re

from shared.metrics import METRICS
from shared.naming import trace_of
from tests.unit.pages import ROOT
from tests.unit.test_docs import with_generated_part

PAGE = ROOT / "docs" / "observability.md"


def metrics_table() -> str:
    lines = ["| metric | what | unit | kind | attributes |", "|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | {one.about} | {one.unit} | {one.instrument.value} |"
        f" {', '.join(f'`{attribute}`' for attribute in one.attributes)} |"
        for name, one in METRICS.items()
    ]
    return "\n".join(lines) + "\n"


def test_the_page_has_every_metric_with_its_attributes():
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_generated_part(text, metrics_table()), (
        "write it again: .venv/bin/python -m tests.unit.test_docs_observability"
    )


def test_queries_of_the_page_ask_for_metrics_that_there_are():
    asked = re.findall(r'name == "(\w+)"', PAGE.read_text(encoding="utf-8"))
    assert asked
    assert set(asked) <= set(METRICS)


def test_the_trace_in_the_page_is_its_operations():
    found = re.search(r"^operation (\S+), trace (\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    assert trace_of(found[1])[0] == found[2]


def test_no_query_looks_for_fields_of_a_log_line_outside_of_its_message():
    """The Functions worker hands on a record's level, category and message (``shared/logs.py``)."""
    pages = [*(ROOT / "docs").rglob("*.md")]
    queries = [
        query
        for page in pages
        for query in re.findall(r"```kusto\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ]
    queries += [path.read_text(encoding="utf-8") for path in (ROOT / "infra" / "queries").glob("*.kql")]
    asked = [query for query in queries if re.search(r"^traces\b", query, re.MULTILINE)]
    assert len(asked) > 10
    assert [query for query in asked if "customDimensions" in query] == []


if __name__ == "__main__":
    PAGE.write_text(with_generated_part(PAGE.read_text(encoding="utf-8"), metrics_table()), encoding="utf-8")
