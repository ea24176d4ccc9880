"""Which lines an alert's query keeps: the filters of ``infra/queries``, carried out on lines of the log.

Only what the queries use: ``startswith``, ``has``, ``in``, ``==``, ``and``, ``or`` and ``extract``. What is
counted and joined after the filters is not carried out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.unit.pages import ROOT

STARTS = re.compile(r'message startswith ("[^"]*")')
HAS = re.compile(r'message has ("[^"]*")')
EXTRACT = re.compile(r'(\w+) = extract\(@"([^"]*)", 1, message\)')


def kept(name: str, lines: Iterable[str]) -> list[dict[str, str]]:
    """What the query ``name`` takes out of each line that it keeps."""
    text = (ROOT / "infra" / "queries" / f"{name}.kql").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("//"))
    table, *stages = (" ".join(stage.split()) for stage in re.split(r"^\| ", text, flags=re.MULTILINE))
    assert table == "traces"
    found = [(line, dict[str, str]()) for line in lines]
    for stage in stages:
        verb, _, rest = stage.partition(" ")
        if verb == "where":
            found = [(line, taken) for line, taken in found if _holds(rest, line, taken)]
        elif verb == "extend":
            for line, taken in found:
                for column, pattern in EXTRACT.findall(rest):
                    match = re.search(pattern, line)
                    taken[column] = match[1] if match else ""
        else:
            break
    return [taken for _, taken in found]


def _holds(condition: str, line: str, taken: dict[str, str]) -> bool:
    python = HAS.sub(r"(\1 in message)", STARTS.sub(r"message.startswith(\1)", condition))
    return bool(eval(python, {"message": line, **taken}))  # noqa: S307 - a file of this repository
