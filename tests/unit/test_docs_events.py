"""The page of nasty events names tests that there are, and has all thirty of them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "nasty-events.md"


def test_each_nasty_event_has_a_test_that_exists():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if "| `test_" in line]
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "tests" / "unit").glob("test_*.py")]
    written = set(re.findall(r"^(?:async )?def (test_\w+)", "\n".join(sources), re.MULTILINE))
    numbers = [int(found[1]) for row in rows if (found := re.match(r"\| (\d+) \|", row))]
    assert numbers == list(range(1, 31))
    assert len(rows) == len(numbers) + 13
    named = {name for row in rows for name in re.findall(r"`(test_\w+)`", row)}
    assert sorted(named - written) == []
