"""The tool that breaks the core: its named mistakes still fit, its reasons name mutants that there are."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.mutation import verdicts
from tests.mutation.__main__ import MODULES
from tests.mutation.copies import ROOT, Copy
from tests.mutation.mutants import mutants
from tests.mutation.named import Named, Patch, named
from tests.mutation.survivors import reasons

NAMES = {
    "announce before save",
    "no lease",
    "transaction without the operation row",
    "refcount off by one",
    "generation ignored",
    "intent not saved",
    "retry on permanent",
    "precondition dropped",
    "closing never reopened",
    "supersede ignored by a claim",
    "stale attempt run",
    "wait counted as attempt",
    "name given free too early",
    "word of a linker believed",
}


def edits(source: str) -> set[str]:
    return {mutant.edit for mutant in mutants("x.py", source)}


@pytest.mark.parametrize("mistake", named(), ids=lambda one: one.name)
def test_a_named_mistake_still_fits_the_source_and_changes_it(mistake: Named):
    for file, source in mistake.sources(ROOT).items():
        compile(source, file, "exec")
        assert source != (ROOT / file).read_text()
        for function in mistake.functions[file]:
            assert f"def {function.rpartition('.')[2]}(" in source


def test_every_mistake_that_was_asked_for_is_named():
    assert {one.name for one in named()} == NAMES


def test_a_patch_that_fits_nowhere_or_twice_is_an_error(tmp_path: Path):
    (tmp_path / "x.py").write_text("a = 1\nb = 1\n")
    for old in ("c = 1", " = 1"):
        with pytest.raises(LookupError, match="broken"):
            Named("broken", "", [Patch("x.py", "-", old, "d = 1")]).sources(tmp_path)


def test_every_reason_names_a_mutant_that_there_is():
    known = reasons()
    files = {key.partition(" ")[0] for key in known}
    assert files <= set(MODULES)
    there = {one.key for file in files for one in mutants(file, (ROOT / file).read_text())}
    assert sorted(set(known) - there) == []
    assert all(known.values())


def test_a_mutant_is_made_of_each_small_thing_that_a_line_can_say_wrong():
    source = '''
def f(a, *, b=1):
    """Text."""
    if a and not b:
        raise ValueError("for people only")
    return g(a < 2, c=b + 1)
'''
    assert edits(source) == {
        "2 for 1",
        "a or not b for a and (not b)",
        "without a in a and (not b)",
        "without not b in a and (not b)",
        "not (a and (not b)) for a and (not b)",
        "b for not b",
        "pass for raise ValueError('for people only')",
        "return None for return g(a < 2, c=b + 1)",
        "without c=b + 1 in g(a < 2, c=b + 1)",
        "a <= 2 for a < 2",
        "a >= 2 for a < 2",
        "3 for 2",
        "b - 1 for b + 1",
    }


def test_tables_lose_entries_and_elements_and_statements_go():
    source = 'T = {"k": (1, x)}\nasync def f(s):\n    await s.save()\n    s.x = 1\n    return ""\n'
    assert edits(source) >= {
        "without {'k': (1, x)} in {'k': (1, x)}",
        "without x in (1, x)",
        "'' for 'k'",
        "pass for await s.save()",
        "pass for s.x = 1",
        "'mutant' for ''",
    }


def test_each_mutant_differs_from_its_source_in_one_place_and_has_a_key_of_its_own():
    source = (ROOT / "shared/precedence.py").read_text()
    found = list(mutants("shared/precedence.py", source))
    assert len({one.key for one in found}) == len({one.source for one in found}) == len(found) > 40
    assert source not in {one.source for one in found}


def test_what_a_test_has_killed_is_known_until_that_test_reads_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tried = list[str]()

    def fake(_: Path, trials: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        for trial in trials:
            tried.append(trial["key"])
            yield {"key": trial["key"], "killed": "test_x.py::test_a[1]" if trial["key"] == "a" else ""}

    monkeypatch.setattr(verdicts, "try_all", fake)
    whole = Copy(tmp_path, {}, {})

    def run(body: str, *tests: str, reasons: tuple[str, ...] = ()) -> dict[str, str]:
        (tmp_path / "test_x.py").write_text(f"def test_a():\n    {body}\n\n\ndef test_b():\n    pass\n")
        tried.clear()
        trials = [{"key": key, "sources": {}, "tests": [*tests]} for key in ("a", "b")]
        return verdicts.Verdicts(tmp_path / "verdicts.jsonl").run(whole, trials, "tests", reasons)

    first, second = "test_x.py::test_a[1]", "test_x.py::test_b"
    assert run("pass", first) == {"a": first, "b": ""}
    assert tried == ["a", "b"]
    run("pass", first)
    assert tried == []
    assert run("pass", first, second) == {"a": first, "b": ""}
    assert tried == ["b"], "who lives meets the new test; who was killed stays so"
    third = "test_x.py::test_a[2]"
    assert run("pass", first, second, third, reasons=("b",)) == {"a": first, "b": ""}
    assert tried == [], "who lives for a reason is not tried again"
    run("assert 1", first, second, third)
    assert tried == ["a", "b"]
    run("assert 2", first, second, third)
    assert tried == ["a", "b"], "a test that reads otherwise is another test"
