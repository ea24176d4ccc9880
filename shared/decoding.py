"""One decoder for every body that comes from outside: plain JSON, else strict base64 of JSON.

Queues deliver text as the sender put it (``messageEncoding: none``): the Azure CLI sends plain text, older
SDKs and some Event Grid deliveries base64. What the JSON means is for ``requests`` and ``events``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, NoReturn

from shared.errors import RefusedError

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, or one that the text's end cuts off: else each escaped quote in it would be tried as a beginning,
and a message of 64 KB of them would take minutes."""
_BRACKET = re.compile(r"[\[\]{}]")
_BREAKS = str.maketrans("", "", " \t\r\n")
RESERVED = frozenset(
    {"id", "dequeuecount", "popreceipt", "insertiontime", "expirationtime", "nextvisibletime"}
    | {"queuetrigger"}
)
"""Folded names of the queue trigger's own metadata, which a body's top-level properties overwrite
(Azure/azure-webjobs-sdk-extensions issue 882)."""


class RepeatedKeys(dict[str, Any]):
    """An object that names a property twice: two readers could see two different objects in it."""


def decode(body: bytes | str, *, message_bytes: int, json_bytes: int, depth: int) -> Any:
    """Decode a body into JSON values.

    Args:
        body: as received.
        message_bytes: largest body accepted.
        json_bytes: largest JSON text accepted, after base64 if there was any.
        depth: deepest nesting of arrays and objects accepted.

    Returns:
        The JSON value; objects with repeated keys are ``RepeatedKeys``.

    Raises:
        RefusedError: ``message-too-large``, ``too-deep`` or ``not-json``; never quotes the body.
    """
    try:
        raw = body.encode() if isinstance(body, str) else body
        if len(raw) > message_bytes:
            raise RefusedError("message-too-large", f"{len(raw)} bytes; at most {message_bytes} are accepted")
        text = raw.decode()
    except UnicodeError:
        raise RefusedError("not-json", "the message is not UTF-8 text") from None
    try:
        return _parse(text, json_bytes, depth)
    except ValueError as error:
        unpacked = _unpack(text)
        if unpacked is None:
            place = f" ({error})" if isinstance(error, json.JSONDecodeError) else ""
            raise RefusedError("not-json", f"the message is neither JSON nor base64 of JSON{place}") from None
    try:
        return _parse(unpacked, json_bytes, depth)
    except ValueError:
        raise RefusedError("not-json", "the message is base64, but not of JSON") from None


def decode_bytes(raw: bytes, *, json_bytes: int, depth: int) -> Any:
    """Decode plain JSON, as ``decode`` does where no base64 is allowed.

    Raises:
        RefusedError: ``message-too-large``, ``too-deep`` or ``not-json``.
    """
    try:
        return _parse(raw.decode(), json_bytes, depth)
    except ValueError:
        raise RefusedError("not-json", "the data are not JSON") from None


def _unpack(text: str) -> str | None:
    """Text behind strict base64 (line breaks allowed), or ``None``."""
    packed = text.translate(_BREAKS)
    if not packed:
        return None
    try:
        return base64.b64decode(packed, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _parse(text: str, json_bytes: int, depth: int) -> Any:
    """JSON values of a text; ``ValueError`` if it is none."""
    _check_depth(text, depth)
    value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    size = len(text.encode())
    if size > json_bytes:
        raise RefusedError("message-too-large", f"{size} bytes of JSON; at most {json_bytes} are accepted")
    return value


def _check_depth(text: str, limit: int) -> None:
    """Count brackets outside of strings before the recursive parser meets them."""
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > limit:
            raise RefusedError("too-deep", f"the JSON text nests deeper than {limit} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else RepeatedKeys(found)


def _refuse_constant(_name: str) -> NoReturn:
    """``NaN`` and ``Infinity`` are Python's own additions to JSON."""
    raise ValueError


def check_keys(value: dict[str, Any]) -> None:
    """Refuse what would mean different things to different readers."""
    for key in value:
        if key.lower() in RESERVED:
            raise RefusedError(
                "reserved-property",
                f"{key}: the Functions host replaces its own metadata of a message by top-level properties"
                " of this name",
                field=key,
                remedy="use requestId for the sender's own key, connectionId for the connection",
            )
    inner: list[Any] = [value]
    while inner:
        item = inner.pop()
        if isinstance(item, RepeatedKeys):
            raise RefusedError("duplicate-key", "an object names the same property twice")
        inner += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
