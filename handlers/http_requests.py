"""What is read of an HTTP request: the connection in its route, the message in its body."""

import json
import re
from collections.abc import Mapping
from typing import Any

import azure.functions as func

from shared import decoding, requests
from shared.errors import RefusedError
from shared.models import ConnectionId

_CONNECTION_ID = re.compile(r"[0-9a-f]{24}")


def connection_id(req: func.HttpRequest) -> ConnectionId:
    """The connection's id in the route.

    Raises:
        RefusedError: ``not-found``.
    """
    found = req.route_params["connectionId"].lower()
    if not _CONNECTION_ID.fullmatch(found):
        # Table keys refuse some characters, so no other text is looked up.
        detail = "a connection's id is 24 hexadecimal digits"
        raise RefusedError(
            "not-found", detail, field="connectionId", remedy="GET /api/connections lists them"
        )
    return ConnectionId(found)


def with_action(body: bytes, action: str) -> bytes:
    """The body as a request message; ``action`` may be left out of it."""
    try:
        value = decoding.decode(
            body,
            message_bytes=requests.MESSAGE_BYTES,
            json_bytes=requests.JSON_BYTES,
            depth=requests.DEPTH,
        )
    except RefusedError:
        return body  # whoever decodes it refuses it
    if isinstance(value, dict) and type(value) is dict and "action" not in value:
        return json.dumps({"action": action, **value}).encode()
    return body


def json_object(body: bytes) -> dict[str, Any]:
    """A body that is one JSON object.

    Raises:
        RefusedError: a code of decoding, or ``not-an-object``.
    """
    value = decoding.decode(
        body,
        message_bytes=requests.MESSAGE_BYTES,
        json_bytes=requests.JSON_BYTES,
        depth=requests.DEPTH,
    )
    if not isinstance(value, dict):
        raise RefusedError("not-an-object", "one JSON object is expected", remedy="send what changes")
    decoding.check_keys(value)
    return value


def merged(whole: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch applied (RFC 7396): null takes a property away."""
    result = dict(whole)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            there = result.get(name)
            result[name] = merged(there if isinstance(there, dict) else {}, value)
        else:
            result[name] = value
    return result
