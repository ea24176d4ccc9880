"""How every Resource Manager client of ours is made: endpoint, token scope, pipeline, subscription.

The clients share one list of pipeline policies. It leaves out azure-mgmt-core's policy that registers
resource providers by itself: that would be a subscription-wide write nobody asked for, with polling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from shared.clients.call_spans import arm_calls
from shared.clients.credentials import AppCredential
from shared.clients.http_pool import HttpPool, bounded_retries
from shared.errors import PermanentError, TransientError
from shared.ports import Telemetry

if TYPE_CHECKING:
    from azure.core import AsyncPipelineClient

PUBLIC_ENDPOINT = "https://management.azure.com"
_DONE = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})
_SOVEREIGN_ENDPOINTS = ("https://management.usgovcloudapi.net", "https://management.chinacloudapi.cn")


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """The answer to a write."""

    accepted: bool
    """Azure has begun and is not done (202)."""
    body: Mapping[str, Any]
    """The resource, empty if the answer shows none."""


class ArmConnection:
    """What Resource Manager clients share.

    Args:
        pool: Connections.
        credential: The app's identity.
        endpoint: Resource Manager's URL.
    """

    def __init__(self, pool: HttpPool, credential: AppCredential, *, endpoint: str = PUBLIC_ENDPOINT) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.credential = credential
        self._pool = pool
        self._generic: Any = None

    @property
    def telemetry(self) -> Telemetry:
        """Who is told of the calls."""
        return self._pool.telemetry

    @property
    def scope(self) -> str:
        """Scope of the token; sovereign clouds have their own, anything else is public Azure's."""
        known = self.endpoint in _SOVEREIGN_ENDPOINTS
        return f"{self.endpoint if known else PUBLIC_ENDPOINT}/.default"

    def options(self) -> dict[str, Any]:
        """Keyword arguments for an ``azure.mgmt`` client's constructor."""
        from azure.core.pipeline.policies import (
            ContentDecodePolicy,
            HeadersPolicy,
            RequestIdPolicy,
            UserAgentPolicy,
        )
        from azure.mgmt.core.policies import AsyncARMChallengeAuthenticationPolicy

        return {
            "base_url": self.endpoint,
            "credential_scopes": [self.scope],
            "transport": self._pool.transport(),
            "policies": [
                RequestIdPolicy(),
                HeadersPolicy(),
                UserAgentPolicy("mooring"),
                ContentDecodePolicy(),
                bounded_retries(),
                AsyncARMChallengeAuthenticationPolicy(self.credential, self.scope),
                arm_calls(self.telemetry),
            ],
        }

    async def get_json(
        self,
        path: str,
        *,
        api_version: str,
        query: Mapping[str, str] | None = None,
        method: str = "GET",
    ) -> dict[str, Any]:
        """GET one ARM id (or a next page's URL) through a client that knows no resource type.

        Args:
            path: An ARM id, or a ``nextLink`` of the same endpoint.
            api_version: Ignored for a ``nextLink``, which has it already.
            query: More of the query, ignored for a ``nextLink`` likewise.
            method: ``POST`` for an action that reads; it has no body.

        Raises:
            azure.core.exceptions.HttpResponseError: any answer but 200, for ``arm_errors.ask``.
            PermanentError: ``next-link-foreign`` if a page points elsewhere; our token stays here.
        """
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        if path.startswith("/"):
            asked = {"api-version": api_version, **(query or {})}
            url = f"{self.endpoint}{safe_path(path)}?{urlencode(asked, quote_via=quote)}"
        elif path.startswith(f"{self.endpoint}/"):
            url = path
        else:
            raise PermanentError("next-link-foreign", path)
        response = await self._open().send_request(HttpRequest(method, url))
        if response.status_code != 200:  # noqa: PLR2004 - HTTP OK
            raise HttpResponseError(response=response)
        body = _json(response)
        if not isinstance(body, dict):
            raise HttpResponseError("the answer is no JSON object", response=response)
        return body

    async def send(
        self, method: str, path: str, *, api_version: str, body: Mapping[str, Any] | None = None
    ) -> Written:
        """PUT or DELETE one ARM id; an operation that Azure begins is not waited for.

        Raises:
            azure.core.exceptions.HttpResponseError: any answer but success, for ``arm_errors.ask``.
        """
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        query = urlencode({"api-version": api_version}, quote_via=quote)
        request = HttpRequest(method, f"{self.endpoint}{safe_path(path)}?{query}", json=body)
        response = await self._open().send_request(request)
        if response.status_code not in _DONE:
            raise HttpResponseError(response=response)
        answer = _json(response) if response.text().strip() else {}
        shown = answer if isinstance(answer, dict) else {}
        return Written(accepted=response.status_code == HTTPStatus.ACCEPTED, body=shown)

    async def aclose(self) -> None:
        """Close the generic client; the pool and the credential are closed by whoever made them."""
        if self._generic is not None:
            await self._generic.close()
            self._generic = None

    def _open(self) -> AsyncPipelineClient[Any, Any]:
        if self._generic is None:
            from azure.core import AsyncPipelineClient

            options = self.options()
            self._generic = AsyncPipelineClient(
                base_url=self.endpoint,
                policies=options["policies"],
                transport=options["transport"],
            )
        generic: AsyncPipelineClient[Any, Any] = self._generic
        return generic


def items_of(page: Mapping[str, Any]) -> list[Any]:
    """Rows of one page of a list.

    Raises:
        TransientError: ``list-broken``: an empty list says so; an answer without one must not pass for empty.
    """
    rows = page.get("value")
    if not isinstance(rows, list):
        raise TransientError("list-broken", "a page has no list")
    return rows


def _json(response: Any) -> Any:
    """JSON of an answer; of one that has none (a proxy's page) the error of an answer like any other."""
    from azure.core.exceptions import HttpResponseError

    try:
        return response.json()
    except ValueError as error:
        raise HttpResponseError("the answer is no JSON", response=response) from error


def safe_path(resource_id: str) -> str:
    """An ARM id as the path of a URL.

    Raises:
        PermanentError: ``resource-id-invalid`` for ids that would name something else once in a URL.
    """
    parts = resource_id.split("/")
    if parts[0] or len(parts) < 3 or any(part in {"", ".", ".."} for part in parts[1:]):  # noqa: PLR2004
        raise PermanentError("resource-id-invalid", resource_id)
    return quote(resource_id, safe="/()~!$&'*+,;=:@-._")


def split_id(resource_id: str, provider: str, kind: str) -> tuple[str, str, str]:
    """Subscription, resource group and name of a top-level resource's id.

    Args:
        resource_id: An ARM id in any casing.
        provider: Provider namespace it must have, such as ``Microsoft.ManagedIdentity``.
        kind: Type it must have, such as ``userAssignedIdentities``.

    Raises:
        PermanentError: ``resource-id-invalid``.
    """
    parts = safe_path(resource_id).split("/")[1:]
    expected = ["subscriptions", "resourcegroups", "providers", provider.lower(), kind.lower()]
    if len(parts) != 8 or [parts[i].lower() for i in (0, 2, 4, 5, 6)] != expected:  # noqa: PLR2004 - id shape
        raise PermanentError("resource-id-invalid", f"{resource_id} is no {provider}/{kind}")
    return parts[1], parts[3], parts[7]
