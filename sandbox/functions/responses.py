"""HTTP responses from what a function returned.

An ``HttpResponse`` comes back as a response message and is sent as it is. A returned ``str`` goes
through the host's sniffing (``HttpBinding.cs``): JSON is parsed, and an object with a ``body`` is
taken for a description of the response.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

_SAME_SITE = {1: "Lax", 2: "Strict", 3: "None"}
_OWN_HEADERS = {"content-length", "transfer-encoding"}


def http_response(returned: Mapping[str, Any]) -> web.Response:
    """Return the response for a function's return value in the pipe's form."""
    if "http" in returned:
        return _from_message(returned["http"])
    if not returned:
        # A function that returns nothing: the host answers 204.
        return web.Response(status=204)
    kind, value = next(iter(returned.items()))
    if kind == "bytes":
        return web.Response(body=value, content_type="application/octet-stream")
    return sniffed_response(str(value))


def sniffed_response(text: str) -> web.Response:
    """Return the response for a returned text."""
    try:
        content = json.loads(text)
    except ValueError:
        return web.Response(text=text, content_type="text/plain")
    status, headers = 200, {}
    if isinstance(content, dict):
        folded = {key.lower(): value for key, value in content.items()}
        if "body" in folded:
            content = folded["body"]
            status = _status(folded.get("statuscode", folded.get("status")))
            if isinstance(folded.get("headers"), dict):
                headers = {name: str(value) for name, value in folded["headers"].items()}
    if content is None:
        return web.Response(status=status, headers=headers)
    as_text = isinstance(content, str)
    body = content if as_text else json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    if any(name.lower() == "content-type" for name in headers):
        return web.Response(status=status, body=body.encode(), headers=headers)
    content_type = "text/plain" if as_text else "application/json"
    return web.Response(status=status, text=body, content_type=content_type, headers=headers)


def _status(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        return int(value)
    return 200


def _from_message(message: Mapping[str, Any]) -> web.Response:
    body = next(iter(message["body"].values()), b"")
    headers: CIMultiDict[str] = CIMultiDict(
        (name, value) for name, value in message["headers"].items() if name.lower() not in _OWN_HEADERS
    )
    for cookie in message["cookies"]:
        headers.add("Set-Cookie", _cookie_header(cookie))
    return web.Response(
        status=int(message["status_code"]),
        body=body.encode() if isinstance(body, str) else body,
        headers=headers,
    )


def _cookie_header(cookie: Mapping[str, Any]) -> str:
    parts = [f"{cookie['name']}={cookie['value']}"]
    if cookie["expires"] is not None:
        expires = dt.datetime.fromtimestamp(cookie["expires"], dt.UTC)
        parts.append(f"expires={format_datetime(expires, usegmt=True)}")
    if cookie["max_age"] is not None:
        parts.append(f"max-age={int(cookie['max_age'])}")
    parts += [f"{name}={cookie[name]}" for name in ("domain", "path") if cookie[name]]
    if cookie["secure"]:
        parts.append("secure")
    if cookie["same_site"] in _SAME_SITE:
        parts.append(f"samesite={_SAME_SITE[cookie['same_site']]}")
    if cookie["http_only"]:
        parts.append("httponly")
    return "; ".join(parts)
