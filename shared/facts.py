"""Facts of a target: single values that settings are made of, read from Azure's own answers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_HOST = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One value that settings are made of and that Azure's own answer holds."""

    paths: tuple[str, ...]
    """Where it may stand, dots between names; the first that is there counts."""
    form: str
    """``url`` (https, ends with a slash), ``origin`` (without it), ``host`` (name alone) or ``text``."""
    of_parent: bool
    """It stands in the parent's answer and not in the target's."""
    variants: tuple[str, ...]
    """Variants that have it; empty for all."""
    publicly: str
    """What it looks like in Azure's public cloud, for people; never used for a connection."""
    optional: bool = False
    """Only some connections need it: those ask for it themselves."""

    def value(self, answer: Mapping[str, Any]) -> str:
        """The fact in an answer, in its form; an empty string if it is not there or not of that form."""
        for path in self.paths:
            value = at(answer, path)
            if value is not None:
                return _formed(self.form, str(value))
        return ""


def at(answer: Mapping[str, Any], path: str) -> Any:
    """What stands at a path of an answer, dots between names; ``None`` if nothing does.

    ``name=value`` is the row of a list in which that stands.
    """
    value: Any = answer
    for key in path.split("."):
        if isinstance(value, list):
            name, _, wanted = key.partition("=")
            rows = (row for row in value if isinstance(row, Mapping) and row.get(name) == wanted)
            value = next(rows, None)
        else:
            value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _formed(form: str, value: str) -> str:
    if form == "text":
        return value
    secure = value.startswith("https://")
    if form == "host":
        host = (urlsplit(value).hostname or "") if secure else value
        return host if _HOST.fullmatch(host) else ""
    if not secure:
        return ""
    return value.rstrip("/") + ("/" if form == "url" else "")
