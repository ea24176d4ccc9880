"""One cluster's API server: where it is, whom to trust, and plain JSON requests to it.

The generated client's ``ApiClient`` is used without its models: a secret's data or a thousand pods as
validated objects cost more than the request, and a dict says the same. Tokens are Entra tokens for the AKS
server application, the same in all clouds (learn.microsoft.com, "Use kubelogin", AKS server app).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from shared.clients.arm_errors import THROTTLED_STATUS, Failure, ask, judge, retry_after_seconds
from shared.clients.call_spans import answered, kubernetes_call
from shared.clients.credentials import AppCredential
from shared.clients.error_rules import Intent, Service
from shared.clients.http_pool import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS
from shared.errors import Pace, TransientError
from shared.ports import SILENCE, Telemetry

SERVER_APPLICATION_SCOPE = "6dae42f8-4368-4678-94ff-3960e28e3630/.default"
_UNAUTHORIZED = 401
_INT32 = 2**31
_SUCCESS = range(200, 300)


class UnreachableError(TransientError):
    """The API server did not answer; it may have moved, or the cluster may be gone."""

    def __init__(self, detail: str) -> None:
        super().__init__("cluster-unreachable", detail, pace=Pace.SLOW)


class KubeConnection:
    """Requests to one API server over connections that stay open.

    Args:
        credential: The app's identity.
        server: The API server's URL, from the kubeconfig.
        ca_data: PEM text of the cluster's CA, empty to trust ``ca_file`` or the system.
        ca_file: PEM file of further trusted authorities, empty for the system's.
        telemetry: Is told of each request.
    """

    def __init__(
        self,
        credential: AppCredential,
        *,
        server: str,
        ca_data: str = "",
        ca_file: str = "",
        telemetry: Telemetry = SILENCE,
    ) -> None:
        from kubernetes.aio.client.api_client import ApiClient
        from kubernetes.aio.client.configuration import Configuration

        configuration = Configuration(
            host=server.rstrip("/"),
            ca_cert_data=ca_data or None,
            ssl_ca_cert=None if ca_data else (ca_file or None),
        )
        # Python 3.13 wants key identifiers that the CAs of AKS clusters lack (kubernetes-client/python
        # issue 2394). The chain is still verified, against the one CA that Azure names for this cluster.
        configuration.disable_strict_ssl_verification = True
        self._api: Any = ApiClient(configuration)
        self._credential = credential
        self._server = configuration.host
        self._telemetry = telemetry
        self._under_way = 0
        self._retired = False

    async def send(
        self,
        method: str,
        path: str,
        *,
        intent: Intent,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any] | None:
        """Send one request.

        Args:
            method: HTTP method.
            path: Path with quoted names.
            intent: What is wanted, for the classifier.
            query: Query parameters.
            body: JSON body.
            content_type: Of the body.
            accept: Of the answer.

        Returns:
            The answer's JSON, or ``None`` on a definite not-found.

        Raises:
            UnreachableError: no answer, or one that no Kubernetes API server gives.
            TransientError, PermanentError: as the rules say.
        """
        import aiohttp

        url = f"{self._server}{path}" + (f"?{urlencode(query)}" if query else "")
        timeout = aiohttp.ClientTimeout(
            sock_connect=CONNECT_TIMEOUT_SECONDS,
            sock_read=READ_TIMEOUT_SECONDS,
            total=READ_TIMEOUT_SECONDS * 2,
        )
        self._under_way += 1
        try:
            token = await ask(self._credential.token(SERVER_APPLICATION_SCOPE), intent)
            headers = {
                "Authorization": f"Bearer {token}",
                "Accept": accept,
                "Content-Type": content_type,
                "User-Agent": "mooring",
            }
            with kubernetes_call(self._telemetry, method, path) as span:
                try:
                    response = await self._api.call_api(method, url, headers, body, _request_timeout=timeout)
                    raw = await response.read()
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    raise UnreachableError(f"{type(error).__name__}: {error}") from error
                answered(span, int(response.status))
        finally:
            self._under_way -= 1
            if self._retired and not self._under_way:
                await self.aclose()
        if response.status in _SUCCESS:
            found = _object(raw)
            if not found:
                raise UnreachableError(f"HTTP {response.status} without JSON: no API server answers there")
            return found
        if response.status == _UNAUTHORIZED:
            self._credential.forget(SERVER_APPLICATION_SCOPE)
        failure = failure_of(int(response.status), _object(raw), response.headers)
        if failure.status == 404 and not failure.code:  # noqa: PLR2004 - HTTP not found
            raise UnreachableError("HTTP 404 without a Kubernetes status: no API server answers there")
        outcome = judge(failure, intent)
        if outcome is None:
            return None
        raise outcome

    async def retire(self) -> None:
        """Close the connections once the last request that is under way has ended: it may be answered yet."""
        self._retired = True
        if not self._under_way:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._api.close()


def failure_of(status: int, body: Mapping[str, Any], headers: Mapping[str, Any]) -> Failure:
    """Read a Kubernetes ``Status``; a cause of its own rule replaces the broader reason."""
    if body.get("kind") != "Status":
        return Failure(
            service=Service.KUBERNETES,
            status=status,
            code="TooManyRequests" if status == THROTTLED_STATUS else "",
            message=f"HTTP {status}",
            retry_after_seconds=retry_after_seconds(headers),
        )
    details = body.get("details") or {}
    causes = [cause for cause in details.get("causes") or [] if isinstance(cause, dict)]
    special = [
        c.get("reason") for c in causes if c.get("reason") in {"FieldManagerConflict", "NamespaceTerminating"}
    ]
    wait = retry_after_seconds(headers)
    return Failure(
        service=Service.KUBERNETES,
        status=status,
        code=str(special[0] if special else body.get("reason") or ""),
        message=str(body.get("message") or ""),
        retry_after_seconds=_seconds(details.get("retryAfterSeconds")) if wait is None else wait,
    )


def _seconds(told: object) -> float | None:
    """Seconds of a ``Status``, ``None`` if they are not the int32 that Kubernetes has there."""
    return float(told) if isinstance(told, int | float) and 0 <= told < _INT32 else None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
