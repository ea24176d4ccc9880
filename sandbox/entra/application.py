"""The Entra emulator: token endpoint, managed identity endpoint, discovery documents, keys."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from sandbox.dataplane.postgres import AUDIENCES, RealServer
from sandbox.entra.assertions import Assertions
from sandbox.entra.errors import EntraError
from sandbox.entra.keys import SigningKey
from sandbox.entra.principals import Principals
from sandbox.entra.tokens import LIFETIME_SECONDS, Tokens, audience_of
from sandbox.topology import Topology

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def make_app(topology: Topology) -> web.Application:
    """Make the emulator for one sandbox."""
    entra = Entra(topology)
    app = web.Application()
    router = app.router
    router.add_post("/{tenant}/oauth2/v2.0/token", entra.token)
    router.add_get("/{tenant}/discovery/v2.0/keys", entra.keys)
    router.add_get("/{tenant}/discovery/keys", entra.keys)
    router.add_get("/{tenant}/.well-known/openid-configuration", entra.metadata)
    router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", entra.metadata)
    router.add_get("/common/discovery/instance", entra.instance)
    router.add_get("/msi/token", entra.managed_identity)
    router.add_get("/sandbox/propagation", entra.propagation)
    router.add_put("/sandbox/propagation", entra.set_propagation)
    app.cleanup_ctx.append(entra.run)
    return app


class Entra:
    """The endpoints of one tenant."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._key = SigningKey(Path(topology.state_dir) / "entra-key.pem")
        self._tokens = Tokens(topology, self._key)
        self._principals: Principals | None = None
        self._assertions: Assertions | None = None
        self._credential_seconds = 0.0

    async def run(self, app: web.Application) -> AsyncIterator[None]:
        """Hold the client for the other emulators open while the application runs."""
        del app
        tls = ssl.create_default_context(cafile=self._topology.ca_file)
        connector = aiohttp.TCPConnector(ssl=tls)
        timeout = aiohttp.ClientTimeout(total=15)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            self._principals = Principals(self._topology, session)
            self._assertions = Assertions(session)
            self._assertions.credential_seconds = self._credential_seconds
            yield

    def _started(self) -> tuple[Principals, Assertions]:
        if self._principals is None or self._assertions is None:
            raise RuntimeError("the emulator has not started")
        return self._principals, self._assertions

    async def token(self, request: web.Request) -> web.Response:
        """The v2 token endpoint: client credentials by secret or by assertion."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        try:
            issued = await self._client_credentials(request, form)
        except EntraError as refused:
            return web.json_response(refused.body(form.get("client-request-id", "")), status=refused.status)
        return web.json_response(issued, headers={"Cache-Control": "no-store, no-cache"})

    async def _client_credentials(self, request: web.Request, form: dict[str, str]) -> dict[str, Any]:
        self._check_tenant(request.match_info["tenant"])
        if form.get("grant_type") != "client_credentials":
            raise EntraError(
                70003, f"The app requested an unsupported grant type '{form.get('grant_type', '')}'."
            )
        scopes = [one for one in form.get("scope", "").split() if one.endswith("/.default")]
        if len(scopes) != 1:
            raise EntraError(900144, "The request body must contain one scope that ends in '/.default'.")
        client_id = form.get("client_id", "")
        request["caller"] = client_id
        if form.get("client_assertion"):
            resource_id, principal_id = await self._by_assertion(client_id, form)
        else:
            resource_id, principal_id = "", await self._by_secret(client_id, form.get("client_secret", ""))
        token, _ = self._tokens.issue(
            audience_of(scopes[0]), client_id, principal_id, resource_id=resource_id
        )
        await self._tell_databases(audience_of(scopes[0]), principal_id, token)
        lifetime = {"expires_in": LIFETIME_SECONDS, "ext_expires_in": LIFETIME_SECONDS}
        return {"token_type": "Bearer", **lifetime, "access_token": token}

    async def _tell_databases(self, audience: str, principal_id: str, token: str) -> None:
        """A plain PostgreSQL cannot ask Entra about a token: it is told of each."""
        real = RealServer.of_environment()
        if real is not None and audience in AUDIENCES:
            await real.accept(principal_id, token)

    async def _by_assertion(self, client_id: str, form: dict[str, str]) -> tuple[str, str]:
        principals, assertions = self._started()
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise EntraError(900144, "The request body must contain 'client_assertion_type'.")
        principal = await principals.find(client_id)
        if principal is None:
            raise self._unknown(client_id)
        await assertions.verify(form["client_assertion"], principal)
        return principal.resource_id, principal.principal_id

    async def _by_secret(self, client_id: str, secret: str) -> str:
        principals, _ = self._started()
        topology = self._topology
        if client_id.lower() != topology.owner_client_id.lower():
            if await principals.find(client_id) is None:
                raise self._unknown(client_id)
            raise EntraError(7000215, f"Invalid client secret provided for app '{client_id}'.")
        if not secret:
            raise EntraError(7000216, "'client_assertion', 'client_secret' or 'request' is required.")
        if not hmac.compare_digest(secret.encode(), topology.owner_client_secret.encode()):
            raise EntraError(7000215, f"Invalid client secret provided for app '{client_id}'.")
        return topology.owner_principal_id

    def _unknown(self, client_id: str) -> EntraError:
        return EntraError(
            700016,
            f"Application with identifier '{client_id}' was not found in the directory "
            f"'{self._topology.tenant_id}'. This can happen if the application has not been installed by the "
            "administrator of the tenant.",
        )

    def _check_tenant(self, tenant: str) -> None:
        if tenant.lower() != self._topology.tenant_id.lower():
            raise EntraError(900023, f"Specified tenant identifier '{tenant}' is not valid for this sandbox.")

    async def managed_identity(self, request: web.Request) -> web.Response:
        """The endpoint App Service and Functions give their apps (api-version 2019-08-01)."""
        topology, query = self._topology, request.query
        if not hmac.compare_digest(
            request.headers.get("X-IDENTITY-HEADER", "").encode(), topology.msi_header.encode()
        ):
            return web.json_response({"statusCode": 401, "message": "Unauthorized"}, status=401)
        if not query.get("resource"):
            return web.json_response({"statusCode": 400, "message": "The resource is missing."}, status=400)
        principals, _ = self._started()
        client_id = query.get("client_id") or topology.app_client_id
        principal = (
            await principals.find(client_id) if client_id.lower() == topology.app_client_id.lower() else None
        )
        if principal is None:
            message = (
                "No User Assigned or Delegated Managed Identity found for specified "
                "ClientId/ResourceId/PrincipalId."
            )
            return web.json_response({"statusCode": 400, "message": message}, status=400)
        request["caller"] = principal.principal_id
        token, expires = self._tokens.issue(
            query["resource"],
            principal.client_id,
            principal.principal_id,
            resource_id=principal.resource_id,
        )
        await self._tell_databases(query["resource"], principal.principal_id, token)
        return web.json_response(
            {
                "access_token": token,
                "expires_on": str(expires),
                "resource": query["resource"],
                "token_type": "Bearer",
                "client_id": principal.client_id,
            },
        )

    async def keys(self, request: web.Request) -> web.Response:
        """The published signing keys."""
        del request
        return web.json_response({"keys": [self._key.public_jwk]})

    async def metadata(self, request: web.Request) -> web.Response:
        """OpenID metadata; its issuer is the one in tokens for the AKS server application."""
        tenant = request.match_info["tenant"]
        try:
            self._check_tenant(tenant)
        except EntraError as refused:
            return web.json_response(refused.body(), status=refused.status)
        root = f"{self._topology.entra_url}/{tenant}"
        issuer = (
            f"{root}/v2.0" if request.path.endswith("/v2.0/.well-known/openid-configuration") else f"{root}/"
        )
        return web.json_response(
            {
                "issuer": issuer,
                "token_endpoint": f"{root}/oauth2/v2.0/token",
                "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{root}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{root}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "response_types_supported": ["code", "id_token", "token"],
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "claims_supported": ["sub", "iss", "aud", "exp", "iat", "oid", "tid", "appid"],
                "tenant_region_scope": None,
                "cloud_instance_name": "microsoftonline.com",
            },
        )

    async def instance(self, request: web.Request) -> web.Response:
        """Instance discovery: this host is an authority of its own."""
        del request
        host = self._topology.entra_url.removeprefix("https://")
        root = f"{self._topology.entra_url}/{self._topology.tenant_id}"
        return web.json_response(
            {
                "tenant_discovery_endpoint": f"{root}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
            },
        )

    async def propagation(self, request: web.Request) -> web.Response:
        """``GET /sandbox/propagation``."""
        del request
        return web.json_response({"credential_seconds": self._credential_seconds})

    async def set_propagation(self, request: web.Request) -> web.Response:
        """``PUT /sandbox/propagation`` with ``{"credential_seconds": n}``."""
        self._credential_seconds = float((await request.json())["credential_seconds"])
        self._started()[1].credential_seconds = self._credential_seconds
        return await self.propagation(request)
