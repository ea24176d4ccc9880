"""One request to Resource Manager as the providers see it, and what they answer."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from typing import Any

from sandbox.arm.ids import ResourceId


@dataclasses.dataclass(slots=True, kw_only=True)
class Call:
    """A request that is authenticated, parsed and allowed."""

    method: str
    id: ResourceId
    """The resource, or the collection; the action's own segment is cut off."""
    action: str
    """Last segment of a POST, else empty."""
    body: dict[str, Any]
    query: dict[str, str]
    headers: dict[str, str]
    caller: str
    """Object id of the principal."""
    caller_app: str
    """Its client id."""
    started: float
    """Loop time at which the request arrived, its injected latency included."""
    correlation_id: str
    url: str

    @property
    def api_version(self) -> str:
        """The ``api-version`` of the query."""
        return self.query["api-version"]

    @property
    def properties(self) -> dict[str, Any]:
        """``properties`` of the body, empty when absent."""
        found = self.body.get("properties")
        return found if isinstance(found, dict) else {}


@dataclasses.dataclass(slots=True)
class Answer:
    """Status, body and headers; ``accepted`` marks a write that is only begun."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    accepted: bool = False
    """True when an asynchronous operation publishes the event at its end."""
    raw: str | None = None
    """Body text that is not the JSON of ``body`` (``null`` and the like)."""

    def text(self) -> str:
        """The body as it goes over the wire; no body at all for ``None``."""
        if self.raw is not None:
            return self.raw
        return "" if self.body is None else json.dumps(self.body)


def utc_now() -> str:
    """The time now as Azure prints it, seven fraction digits."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


_FILTER_EQUAL = re.compile(r"(\w+)\s+eq\s+'((?:[^']|'')*)'", re.IGNORECASE)
_FILTER_CALL = re.compile(r"(\w+)\(\s*(?:'([^']*)')?\s*\)", re.IGNORECASE)


def filter_terms(text: str) -> dict[str, str]:
    """Read an OData ``$filter`` of ``eq`` and function terms joined by ``and``.

    Returns:
        Lower-case names to values; a function without argument maps to the empty string.
    """
    terms = {name.lower(): value.replace("''", "'") for name, value in _FILTER_EQUAL.findall(text)}
    terms.update({name.lower(): value for name, value in _FILTER_CALL.findall(text)})
    return terms
