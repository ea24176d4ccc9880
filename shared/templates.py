"""Templates of ids and values: ``{name}`` is one segment, or one fact."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

_PLACE = re.compile(r"\{(\w+)\}")
_OPTIONAL = re.compile(r"\[(.*)\]$")


def match(template: str, target_id: str) -> Mapping[str, str] | None:
    """Names in an id by placeholder, as written, in any casing of the rest; ``None`` if it is another id."""
    if not template:
        return None
    path = "/" + "/".join(part for part in target_id.split("/") if part)
    found = _pattern(template).fullmatch(path)
    return None if found is None else {key: one for key, one in found.groupdict().items() if one is not None}


@functools.cache
def _pattern(template: str) -> re.Pattern[str]:
    """Pattern of an id template: ``{name}`` is one segment, a trailing ``[...]`` may be absent."""
    main, *optional = _OPTIONAL.split(template)
    text = _segments(main) + (f"(?:{_segments(optional[0])})?" if optional else "")
    return re.compile(text, re.IGNORECASE | re.ASCII)


def _segments(template: str) -> str:
    return _PLACE.sub(r"(?P<\1>[^/]+)", re.escape(template).replace(r"\{", "{").replace(r"\}", "}"))


def places(template: str) -> frozenset[str]:
    """Names of a template's placeholders."""
    return frozenset(_PLACE.findall(template))


def fill(template: str, facts: Mapping[str, str]) -> str:
    """A template with its placeholders filled in once; what is filled in is not looked at again.

    Raises:
        KeyError: there is no such fact.
    """
    return _PLACE.sub(lambda place: facts[place[1]], template)
