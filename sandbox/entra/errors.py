"""Refusals of the token endpoint, with Entra's AADSTS codes and body."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

TITLES = {
    700016: ("unauthorized_client", 400),
    7000215: ("invalid_client", 401),
    7000216: ("invalid_client", 401),
    70003: ("unsupported_grant_type", 400),
    900144: ("invalid_request", 400),
    900023: ("invalid_request", 400),
    70021: ("invalid_request", 400),
    700211: ("invalid_request", 400),
    700212: ("invalid_request", 400),
    700213: ("invalid_request", 400),
    50027: ("invalid_request", 400),
    700024: ("invalid_client", 401),
    50166: ("invalid_request", 400),
    500011: ("invalid_resource", 400),
}
"""OAuth error and HTTP status of each code."""


class EntraError(Exception):
    """A refusal with its AADSTS code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"AADSTS{code}: {message}")
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return TITLES[self.code][1]

    def body(self, correlation_id: str = "") -> dict[str, Any]:
        """The JSON body as Entra writes it."""
        trace, correlation = str(uuid.uuid4()), correlation_id or str(uuid.uuid4())
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        return {
            "error": TITLES[self.code][0],
            "error_description": f"AADSTS{self.code}: {self.message} Trace ID: {trace} "
            f"Correlation ID: {correlation} Timestamp: {now}",
            "error_codes": [self.code],
            "timestamp": now,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.code}",
        }
