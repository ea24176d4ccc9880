"""What is told of each call to Resource Manager, an API server and Entra: one span an HTTP request.

Names have few values (``ARM GET microsoft.keyvault/vaults``). Queries of URLs, headers, bodies and tokens are
never told; of a path, what names the thing. Retries of a client show as spans of their own.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.naming import type_of
from shared.ports import Span, Telemetry

_PEER = "peer.service"
"""OpenTelemetry's name, which Application Insights shows as target. Its names for HTTP are not used: with
``http.request.method`` Microsoft's exporter (1.0.0b58) writes ``GET /`` over the span's name, and it drops
``url.path``, ``error.type`` and the status."""
_NAMESPACED = "namespaces"


def arm_calls(telemetry: Telemetry) -> Any:
    """A pipeline policy that tells of each request; the last one, so that each try is one call."""
    from azure.core.pipeline.policies import AsyncHTTPPolicy

    class ArmCalls(AsyncHTTPPolicy[Any, Any]):
        """One span a request."""

        async def send(self, request: Any) -> Any:
            method, path = request.http_request.method, unquote(urlsplit(request.http_request.url).path)
            fields = {_PEER: "ARM", "method": method, "path": path}
            with telemetry.span(
                f"ARM {method} {type_of(path)}".rstrip(), outward=True, fields=fields
            ) as span:
                response = await self.next.send(request)
                status = int(response.http_response.status_code)
                answered(span, status)
                sent_id = response.http_response.headers.get("x-ms-request-id")
                if sent_id:
                    span.note({"service_request_id": str(sent_id)})
                if status == HTTPStatus.TOO_MANY_REQUESTS:
                    telemetry.measure("arm_throttled_total")
                return response

    return ArmCalls()


def kubernetes_call(telemetry: Telemetry, method: str, path: str) -> AbstractContextManager[Span]:
    """A span of one request to an API server."""
    fields = {_PEER: "Kubernetes", "method": method, "path": path}
    return telemetry.span(f"Kubernetes {method} {kubernetes_kind(path)}", outward=True, fields=fields)


def token_call(telemetry: Telemetry, what: str) -> AbstractContextManager[Span]:
    """A span of one request for a token: the app's ``own``, or the ``exchange`` of a workload's."""
    return telemetry.span(f"Entra token {what}", outward=True, fields={_PEER: "Entra"})


def answered(span: Span, status: int) -> None:
    """Note an HTTP status. Looking for what is not there is no failure: Azure is asked so all the time."""
    if status:
        span.note({"status": status})
    if status >= HTTPStatus.BAD_REQUEST and status != HTTPStatus.NOT_FOUND:
        span.fail(str(status))


def kubernetes_kind(path: str) -> str:
    """Kind and subresource in a path of Kubernetes' API, without names: ``serviceaccounts/token``.

    ``/api/VERSION/...`` and ``/apis/GROUP/VERSION/...`` (kubernetes.io, "API concepts", resource URIs).
    """
    parts = [part for part in path.split("/") if part]
    rest = parts[2:] if parts[:1] == ["api"] else parts[3:]
    if rest[:1] == [_NAMESPACED] and len(rest) > 2:  # noqa: PLR2004 - below a namespace
        rest = rest[2:]
    return "/".join(rest[::2])
