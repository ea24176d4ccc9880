"""The page about the simulation names every seed that found something, and counts what it counts."""

from tests.mutation.named import named
from tests.simulation.seeds import FOUND
from tests.unit.pages import ROOT

PAGE = (ROOT / "docs" / "reference" / "simulation.md").read_text(encoding="utf-8")


def test_every_seed_that_found_something_is_told_with_what_was_wrong():
    assert [seed for seed, wrong in FOUND if f"| {seed} | {wrong} |" not in PAGE] == []


def test_the_mistakes_on_purpose_are_counted():
    assert len(named()) == 14
    assert "Fourteen mistakes" in PAGE
