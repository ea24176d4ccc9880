"""The blob service: checks of the real one, bytes kept by Azurite.

Every request is checked as Azure checks an identity-based one, then forwarded to the Azurite
account behind the storage account, under a token of the data plane's own. Copies from a URL are
forwarded as they are, so their source must be readable by Azurite itself.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from xml.sax.saxutils import escape

import aiohttp
import jwt
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from sandbox.dataplane.access import AccessChecks, Resource
from sandbox.dataplane.accounts import AccountPool, PoolEmptyError
from sandbox.dataplane.blob_rights import right_for
from sandbox.dataplane.callers import CallerRefusedError, CallerTokens
from sandbox.topology import Topology

ACCOUNT_TYPE = "Microsoft.Storage/storageAccounts"
AUDIENCE = "https://storage.azure.com"
TOKEN_SECONDS = 3600
VERSION = "2023-11-03"
HOP_HEADERS = frozenset(
    {"host", "authorization", "connection", "keep-alive", "transfer-encoding", "te", "upgrade", "expect"},
)


class BlobService:
    """Answers everything below ``/blob/ACCOUNT``."""

    def __init__(
        self,
        topology: Topology,
        session: aiohttp.ClientSession,
        tokens: CallerTokens,
        access: AccessChecks,
        pool: AccountPool,
    ) -> None:
        self._topology = topology
        self._session = session
        self._tokens = tokens
        self._access = access
        self._pool = pool
        self._azurite_root = topology.blob_url.rpartition("/")[0]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Check one request and forward it."""
        account = request.match_info["account"]
        path = request.match_info["path"] or "/"
        audiences = (AUDIENCE, f"https://{account}.blob.core.windows.net")
        try:
            caller = await self._tokens.caller(request.headers.get("Authorization"), audiences)
        except CallerRefusedError as refusal:
            request["caller"] = ""
            return self._unauthenticated(refusal)
        request["caller"] = caller.principal_id
        resource = await self._access.resource(ACCOUNT_TYPE, account)
        if resource is None:
            return _error(404, "ResourceNotFound", "The specified resource does not exist.")
        right = right_for(request.method, path, request.query)
        if right is None:
            return _error(
                400,
                "InvalidQueryParameterValue",
                "Value for one of the query parameters specified in the request URI is invalid.",
            )
        scope = resource.id
        if right.container:
            scope = f"{scope}/blobServices/default/containers/{right.container}"
        if not await self._access.allowed(
            caller.principal_id,
            scope,
            action=right.action,
            data_action=right.data_action,
        ):
            return _error(
                403,
                "AuthorizationPermissionMismatch",
                "This request is not authorized to perform this operation using this permission.",
            )
        return await self._forward(request, account, resource)

    async def container(self, method: str, account: str, container: str) -> bool:
        """Look for a container, or remove it, as its owner may through Resource Manager."""
        resource = await self._access.resource(ACCOUNT_TYPE, account)
        inner = self._pool.known(resource) if resource else ""
        if not inner:
            return False
        url = f"{self._azurite_root}/{inner}/{container}"
        headers = {"Authorization": f"Bearer {self._inner_token()}", "x-ms-version": VERSION}
        query = {"restype": "container"}
        async with self._session.request(method, url, params=query, headers=headers) as answer:
            return answer.ok

    def _unauthenticated(self, refusal: CallerRefusedError) -> web.Response:
        tenant_url = f"{self._topology.entra_url}/{self._topology.tenant_id}"
        challenge = f"Bearer authorization_uri={tenant_url}/oauth2/authorize resource_id={AUDIENCE}"
        code = "NoAuthenticationInformation" if refusal.missing else "InvalidAuthenticationInfo"
        text = (
            "Server failed to authenticate the request. Please refer to the information in the "
            "www-authenticate header."
        )
        response = _error(401, code, text, detail=str(refusal) if not refusal.missing else "")
        response.headers["WWW-Authenticate"] = challenge
        return response

    async def _forward(self, request: web.Request, account: str, resource: Resource) -> web.StreamResponse:
        try:
            inner = self._pool.account_of(resource)
        except PoolEmptyError as error:
            return _error(503, "ServerBusy", str(error))
        prefix = f"/blob/{account}"
        outer_path = request.rel_url.raw_path
        url = f"{self._azurite_root}/{inner}{outer_path[outer_path.index(prefix) + len(prefix) :] or '/'}"
        if request.rel_url.raw_query_string:
            url = f"{url}?{request.rel_url.raw_query_string}"
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in HOP_HEADERS
        )
        headers["Authorization"] = f"Bearer {self._inner_token()}"
        async with self._session.request(
            request.method,
            URL(url, encoded=True),
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as inner_response:
            answer_headers = CIMultiDict(
                (name, value)
                for name, value in inner_response.headers.items()
                if name.lower() not in HOP_HEADERS
            )
            if "xml" in inner_response.headers.get("Content-Type", "") and request.method != "HEAD":
                answer_headers.pop("Content-Length", None)
                text = (await inner_response.read()).replace(
                    f"{self._azurite_root}/{inner}".encode(),
                    f"{self._topology.dataplane_url}/blob/{account}".encode(),
                )
                return web.Response(status=inner_response.status, headers=answer_headers, body=text)
            answer = web.StreamResponse(status=inner_response.status, headers=answer_headers)
            await answer.prepare(request)
            if request.method != "HEAD":
                async for chunk in inner_response.content.iter_any():
                    await answer.write(chunk)
            await answer.write_eof()
            return answer

    def _inner_token(self) -> str:
        """Token for Azurite, which checks audience, issuer and lifetime but no signature."""
        now = int(time.time())
        claims = {
            "aud": AUDIENCE,
            "iss": f"https://sts.windows.net/{self._topology.tenant_id}/",
            "iat": now,
            "nbf": now - 60,
            "exp": now + TOKEN_SECONDS,
        }
        return jwt.encode(claims, self._topology.azurite_key, algorithm="HS256")


def _error(status: int, code: str, message: str, detail: str = "") -> web.Response:
    """An error as the blob service writes it: XML, with the code in a header too."""
    request_id = str(uuid.uuid4())
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
    text = f"{message}\nRequestId:{request_id}\nTime:{moment}"
    extra = f"<AuthenticationErrorDetail>{escape(detail)}</AuthenticationErrorDetail>" if detail else ""
    return web.Response(
        status=status,
        headers={"x-ms-error-code": code, "x-ms-request-id": request_id},
        content_type="application/xml",
        charset="utf-8",
        body=(
            '<?xml version="1.0" encoding="utf-8"?>'
            f"<Error><Code>{code}</Code><Message>{escape(text)}</Message>{extra}</Error>"
        ).encode(),
    )
