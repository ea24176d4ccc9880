"""Deliberate faults in the template: each is caught, and `faults.json` says by whom.

``rules`` are the project's own; ``types`` is an outside checker, asked where there is one
(``MOORING_BICEP_CHECKER``). After a change: ``.venv/bin/python -m tests.infra.test_faults`` writes both anew.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.infra.checker import PLACE, checked, needs_checker
from tests.infra.deployment import NEIGHBOURS, ROOT, Deployment
from tests.infra.rules import broken

FILE = Path(__file__).with_name("faults.json")


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """A text that is replaced in one file, once, and who notices."""

    fault: str
    file: str
    find: str
    replace: str
    rules: tuple[str, ...] = ()
    types: bool = False


def faults() -> list[Fault]:
    listed: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return [Fault(**{**one, "rules": tuple(one.get("rules", ()))}) for one in listed]


@contextmanager
def planted(*chosen: Fault) -> Iterator[list[Deployment]]:
    """Copies of the deployment, each with its one fault.

    Raises:
        AssertionError: the text is not in its file; the list is out of date.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for index, one in enumerate(chosen):
            root = Path(folder) / str(index)
            shutil.copytree(ROOT / "infra", root / "infra")
            for name in NEIGHBOURS:
                shutil.copy(ROOT / name, root / name)
            path = root / one.file
            text = path.read_text(encoding="utf-8")
            assert one.find in text, f"{one.fault}: {one.find!r} is not in {one.file}"
            path.write_text(text.replace(one.find, one.replace, 1), encoding="utf-8")
            made.append(Deployment(root))
        yield made


@functools.cache
def broken_as_shipped() -> tuple[str, ...]:
    """None, if all is well; else one rule that is broken must not fail all of these tests."""
    with planted(Fault("none", "azure.yaml", "name", "name")) as (deployment,):
        return tuple(broken(deployment))


def test_a_copy_without_a_fault_breaks_no_rule():
    assert broken_as_shipped() == ()


@pytest.mark.parametrize("fault", faults(), ids=lambda one: one.fault)
def test_a_fault_is_caught_by_the_rules_that_are_written_down(fault: Fault):
    with planted(fault) as (deployment,):
        assert tuple(name for name in broken(deployment) if name not in broken_as_shipped()) == fault.rules
    assert fault.rules or fault.types, "nobody would notice"


@needs_checker
def test_azures_types_catch_what_is_written_down():
    listed = faults()
    with planted(*listed) as deployments:
        found = [bool(one) for one in checked(deployments)]
    assert {one.fault for one, caught in zip(listed, found, strict=True) if caught} == {
        one.fault for one in listed if one.types
    }


def test_there_are_faults_of_every_kind():
    listed = faults()
    by_rules = sum(1 for one in listed if one.rules)
    by_types = sum(1 for one in listed if one.types)
    print(f"{len(listed)} faults: {by_rules} caught by the rules, {by_types} by Azure's types")
    assert len({one.fault for one in listed}) == len(listed) >= 60
    assert by_rules > 50
    assert by_types > 10
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    assert f"{len(listed)} deliberate faults" in page


def record() -> None:
    """Write down who catches what now; only with a checker, so that nothing is lost."""
    assert PLACE, "MOORING_BICEP_CHECKER is not set"
    assert broken(Deployment(ROOT)) == [], "mend the template first"
    listed = faults()
    with planted(*listed) as deployments:
        types = checked(deployments)
        rows = [
            {**dataclasses.asdict(one), "rules": broken(deployment), "types": bool(found)}
            for one, deployment, found in zip(listed, deployments, types, strict=True)
        ]
    FILE.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    record()
