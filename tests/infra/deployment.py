"""All that is deployed, as one value: the Bicep files, and the data that they load."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.infra.bicep import BicepFile, Declaration, read

ROOT = Path(__file__).resolve().parents[2]
NEIGHBOURS = ("azure.yaml", ".funcignore", ".python-version")
"""Files beside ``infra/`` that are part of a deployment."""
LOADED = re.compile(r"load(?:Json|Text)Content\('([^']+)'\)")
ROLE_ASSIGNMENT = "Microsoft.Authorization/roleAssignments"


@dataclasses.dataclass(frozen=True)
class Deployment:
    """A project folder with ``infra/`` in it."""

    root: Path

    @property
    def infra(self) -> Path:
        return self.root / "infra"

    @functools.cached_property
    def files(self) -> dict[str, BicepFile]:
        """Bicep files by their path below ``infra/``."""
        return {
            path.relative_to(self.infra).as_posix(): read(path)
            for path in sorted(self.infra.rglob("*.bicep"))
        }

    @property
    def main(self) -> BicepFile:
        return self.files["main.bicep"]

    def module(self, name: str) -> BicepFile:
        return self.files[f"modules/{name}.bicep"]

    def json(self, path: str) -> Any:
        return json.loads((self.infra / path).read_text(encoding="utf-8"))

    def text(self, path: str) -> str:
        return (self.infra / path).read_text(encoding="utf-8")

    def resources(self, type_name: str = "") -> Iterator[tuple[BicepFile, Declaration]]:
        """What is made, with the file that makes it."""
        for file in self.files.values():
            for one in file.resources:
                if not one.existing and type_name in {"", one.type}:
                    yield file, one

    def uses(self, module: str) -> list[Declaration]:
        """Where a module is used."""
        return [
            one
            for file in self.files.values()
            for one in file.modules
            if Path(one.type).name == f"{module}.bicep"
        ]

    def loaded(self) -> Iterator[tuple[str, Path]]:
        """Files that Bicep loads at compile time, with the file that does."""
        for name, file in self.files.items():
            for path in LOADED.findall(file.text):
                yield name, (file.path.parent / path).resolve()
