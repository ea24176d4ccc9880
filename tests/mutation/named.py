"""The mistakes that would matter most, by name; each has to be found by a test or a seed.

A patch is old text and new text, so that a test can say that it still fits the source.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.mutation.trials import by_seeds, exchange

FILE = Path(__file__).with_name("named.toml")
ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True, slots=True)
class Patch:
    """One replacement in one file; ``old`` occurs there exactly once."""

    file: str
    function: str
    old: str
    new: str


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """One mistake."""

    name: str
    what: str
    patches: Sequence[Patch]
    seed: int = 0
    """A simulated run that finds it."""

    def sources(self, root: Path) -> dict[str, str]:
        """The edited text of each file.

        Raises:
            LookupError: a patch does not fit the source any more.
        """
        edited: dict[str, str] = {}
        for patch in self.patches:
            text = edited.get(patch.file) or (root / patch.file).read_text()
            if text.count(patch.old) != 1:
                raise LookupError(f"{self.name}: {patch.file} has the old text {text.count(patch.old)} times")
            edited[patch.file] = text.replace(patch.old, patch.new)
        return edited

    @property
    def functions(self) -> dict[str, list[str]]:
        """Names of the edited functions by file."""
        return {
            file: [patch.function for patch in self.patches if patch.file == file]
            for file in {patch.file for patch in self.patches}
        }


@contextlib.contextmanager
def made(mistake: Named, root: Path = ROOT) -> Iterator[None]:
    """The mistake is in the imported modules; afterwards it is not."""
    importlib.import_module("tests.simulation.simulation")
    whole = {file: (root / file).read_text() for file in mistake.functions}
    if not exchange(mistake.sources(root), mistake.functions):
        raise LookupError(f"{mistake.name}: what is edited is no function")
    try:
        yield
    finally:
        exchange(whole, mistake.functions)


def named(file: Path = FILE) -> list[Named]:
    """The mistakes of the list."""
    return [
        Named(one["name"], one["what"], [Patch(**patch) for patch in one["patches"]], one["seed"])
        for one in tomllib.loads(file.read_text())["mistake"]
    ]


def found_by_seeds(mistake: Named, more: int) -> str:
    """What its own seed says of a mistake; else the first of so many seeds that says anything."""
    with made(mistake):
        return (mistake.seed and by_seeds(mistake.seed, 1)) or by_seeds(1, more)
