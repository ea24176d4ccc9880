"""What a queue output binding makes of the value a function set.

From ``FunctionBinding.ReadAsEnumerable`` and ``BindAsyncCollectorAsync`` of the host: text that
looks like JSON is parsed and written anew, indented; an array becomes one message per element.
Bytes go out untouched.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

from sandbox.functions.bindings import looks_like_json

_ISO_DATE = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d{1,7})?(Z|[+-]\d{2}:\d{2})?")


class OutputError(ValueError):
    """The value looks like JSON and is not: the invocation fails."""


def messages_of(value: dict[str, Any]) -> list[bytes]:
    """Return the bodies to send for one output value, in order.

    Args:
        value: The pipe's form of the value; an empty dict is no output.

    Raises:
        OutputError: The text looks like JSON and does not parse.
    """
    if not value:
        return []
    if "bytes" in value:
        return [bytes(value["bytes"])]
    text = str(next(iter(value.values())))
    if not looks_like_json(text):
        return [text.encode()]
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise OutputError(f"a queue output looks like JSON and does not parse: {error}") from error
    elements = parsed if isinstance(parsed, list) else [parsed]
    return [_text_of(element).encode() for element in elements]


def _text_of(element: Any) -> str:
    """Return what Json.NET's ``ToString`` gives for a token."""
    if element is None:
        return ""
    if isinstance(element, bool):
        return str(element)
    if isinstance(element, str):
        return element
    return json.dumps(_with_dates_rewritten(element), indent=2, ensure_ascii=False)


def _with_dates_rewritten(token: Any) -> Any:
    if isinstance(token, dict):
        return {key: _with_dates_rewritten(item) for key, item in token.items()}
    if isinstance(token, list):
        return [_with_dates_rewritten(item) for item in token]
    if isinstance(token, str):
        return _rewritten_date(token)
    return token


def _rewritten_date(text: str) -> str:
    """Rewrite an ISO date as Json.NET does on a machine in UTC: no trailing zeros, offset applied."""
    match = _ISO_DATE.fullmatch(text)
    if match is None:
        return text
    moment, zone = match[1], match[3] or ""
    if zone not in {"", "Z"}:
        try:
            shifted = dt.datetime.fromisoformat(moment + zone).astimezone(dt.UTC)
        except (ValueError, OverflowError):
            return text
        moment, zone = shifted.strftime("%Y-%m-%dT%H:%M:%S"), "+00:00"
    return moment + (match[2] or "").rstrip("0").rstrip(".") + zone
