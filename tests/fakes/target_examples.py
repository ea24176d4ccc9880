"""One example of each target: its id, what Azure answers of it, and what that looks like in the settings."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.targets import TargetType

CLIENT = "99999999-8888-7777-6666-555555555555"
CONNECTION = "orders-1"
TENANT = "99999999-9999-4999-8999-999999999999"
_FILE = Path(__file__).parents[1] / "data" / "target_answers.json"
_PLACE = re.compile(r"\{(\w+)\}")


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A target of one row, of one variant."""

    row: TargetType
    id: str
    children: tuple[str, ...]
    variant: str
    answer: Mapping[str, Any]
    parent: Mapping[str, Any] | None

    def __str__(self) -> str:
        return f"{self.row.name} {self.variant}".strip()

    def facts(self) -> dict[str, str]:
        """The facts of the example's answers."""
        return self.row.facts(
            self.id, self.answer, client_id=CLIENT, parent=self.parent, connection_name=CONNECTION
        )

    def expected(self, template: str) -> str:
        """A value template as the public cloud fills it, worked out from the names alone."""
        names = {
            **(self.row.names(self.id) or {}),
            "clientId": CLIENT,
            "connectionName": CONNECTION,
            "user": f"aad_{CONNECTION}",
            "tenantId": TENANT,
            "location": "westeurope",
            "region": "westeurope",
        }
        for _ in range(2):  # a fact's own template holds names
            template = _PLACE.sub(
                lambda place: (
                    self.row.wanted[place[1]].publicly
                    if place[1] in self.row.wanted and place[1] not in names
                    else names.get(place[1], place[0])
                ),
                template,
            )
        return template


@functools.cache
def document() -> dict[str, Any]:
    """The examples as written."""
    content: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return content


def examples(row: TargetType) -> tuple[Example, ...]:
    """The examples of a row, one for each variant."""
    found = document()[row.name]
    answers = found.get("variants", {"": found["answer"]})
    return tuple(
        Example(row, found["id"], tuple(found.get("children", ())), variant, answer, found.get("parent"))
        for variant, answer in answers.items()
    )
