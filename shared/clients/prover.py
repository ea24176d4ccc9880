"""Proof that a workload's access works: the exchange and the read that the workload itself would do.

Both are plain requests on azure-core's pipeline. They use tokens of the workload, never the app's own, and
they write nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shared.clients.arm_errors import THROTTLED_STATUS, ask, failure_of, judge
from shared.clients.call_spans import answered, token_call
from shared.clients.error_rules import Intent, Service
from shared.clients.http_pool import HttpPool, bounded_retries
from shared.errors import Pace, PermanentError, TransientError

if TYPE_CHECKING:
    from azure.core import AsyncPipelineClient

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
STORAGE_VERSION = "2021-12-02"
"""Storage refuses bearer tokens without a version header; other services ignore it."""
_REFUSALS = range(400, 404)
_AADSTS = re.compile(r"AADSTS\d+")
KEPT_OUT = frozenset({"AuthorizationFailure", "ForbiddenByFirewall", "ForbiddenByConnection"})
"""Codes of a 403 that the network's rules give and no role mends. Storage says ``AuthorizationFailure`` for
those and ``AuthorizationPermissionMismatch`` for a missing role; a vault says it in ``innererror``
(learn.microsoft.com, "Storage: troubleshoot 403 errors", "Key Vault REST API error codes"). Not tried."""


class EntraProver:
    """``ports.Prover`` over Entra and the target's own data plane.

    Args:
        pool: Connections.
        authority_host: Entra's URL.
        tenant_id: Tenant of the identities.
    """

    def __init__(self, pool: HttpPool, *, authority_host: str, tenant_id: str) -> None:
        self._pool = pool
        self._token_url = f"{authority_host.rstrip('/')}/{tenant_id}/oauth2/v2.0/token"
        self._client: Any = None
        self._telemetry = pool.telemetry

    async def exchange(self, *, client_id: str, assertion: str, scope: str) -> str:
        """Exchange a service-account token for an Entra token.

        Raises:
            PermanentError: ``exchange-refused`` with the AADSTS code in the detail. For some minutes after
                a credential was written that may be Entra's cache; how long to wait is the caller's matter.
            TransientError: Entra did not answer, or answered that it is busy.
        """
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
            "client_id": client_id,
            "scope": scope,
        }
        request = HttpRequest("POST", self._token_url, data=form)
        with token_call(self._telemetry, "exchange") as span:
            response = await ask(self._open().send_request(request), Intent.READ)
            answered(span, response.status_code if response is not None else 0)
        if response is not None and response.status_code == 200:  # noqa: PLR2004 - HTTP OK
            token = _body(response).get("access_token")
            if isinstance(token, str):
                return token
        error = HttpResponseError(response=response)
        failure = failure_of(error, Service.ARM)
        if failure.status in _REFUSALS:
            found = _AADSTS.search(failure.message)
            raise PermanentError("exchange-refused", found.group(0) if found else failure.code)
        if failure.status == THROTTLED_STATUS:
            # Entra's, and not Resource Manager's: no subscription is spared for it.
            wait = failure.retry_after_seconds
            raise TransientError("token-unavailable", "HTTP 429", pace=Pace.SLOW, retry_after_seconds=wait)
        raise judge(failure, Intent.READ) or TransientError("token-unavailable")

    async def read(self, url: str, *, token: str) -> int | None:
        """HTTP status of one authorised GET, or ``None`` if the address is not reachable from here.

        A target whose network rules keep this app out answers, and says nothing of the workload's rights.

        Raises:
            PermanentError: ``proof-url-invalid`` for anything but https: the token would be readable.
        """
        from azure.core.rest import HttpRequest

        if not url.startswith("https://"):
            raise PermanentError("proof-url-invalid", url)
        headers = {"Authorization": f"Bearer {token}", "x-ms-version": STORAGE_VERSION}
        try:
            with self._telemetry.span("target GET", outward=True) as span:
                response = await ask(
                    self._open().send_request(HttpRequest("GET", url, headers=headers)), Intent.READ
                )
                answered(span, response.status_code if response is not None else 0)
        except TransientError as error:
            if error.code == "connection-failed":
                return None
            raise
        if response is None or _codes(response) & KEPT_OUT:
            return None
        return int(response.status_code)

    async def aclose(self) -> None:
        """Close the client."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _open(self) -> AsyncPipelineClient[Any, Any]:
        if self._client is None:
            from azure.core import AsyncPipelineClient
            from azure.core.pipeline.policies import RequestIdPolicy, UserAgentPolicy

            self._client = AsyncPipelineClient(
                base_url=self._token_url,
                policies=[RequestIdPolicy(), UserAgentPolicy("mooring"), bounded_retries()],
                transport=self._pool.transport(),
            )
        client: AsyncPipelineClient[Any, Any] = self._client
        return client


def _codes(response: Any) -> set[str]:
    """Codes of a refusal, the header's and those of the body."""
    if response.status_code != HTTPStatus.FORBIDDEN:
        return set()
    outer = _body(response).get("error")
    error = outer if isinstance(outer, dict) else {}
    inner = error.get("innererror")
    told = [response.headers.get("x-ms-error-code"), error.get("code")]
    told += [inner.get("code")] if isinstance(inner, dict) else []
    return {str(one) for one in told if one}


def _body(response: Any) -> Mapping[str, Any]:
    """The answer's JSON object, empty if it is none."""
    try:
        found = json.loads(response.text())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
