"""A client of Resource Manager that acts as the subscription's owner.

Seeding uses it, and so may anything that plays a person in front of the sandbox.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote

import aiohttp

from sandbox.topology import Topology

POLL_SECONDS = 0.05
PUT_SECONDS = 30.0
ARM_SCOPE = "https://management.azure.com/.default"
STORAGE_SCOPE = "https://storage.azure.com/.default"


class RefusedError(RuntimeError):
    """A part answered with an error; the message has status and body."""


class Owner:
    """The owner's tokens, cached, and requests under them.

    Args:
        topology: The sandbox.
        session: A session that trusts its CA.
        patience: Factor on deadlines, for a sandbox that is slow on purpose.
    """

    def __init__(self, topology: Topology, session: aiohttp.ClientSession, *, patience: float = 1.0) -> None:
        self._topology = topology
        self._session = session
        self._limit_seconds = PUT_SECONDS * patience
        self._tokens: dict[str, str] = {}

    async def token(self, scope: str) -> str:
        """Get an access token for a scope (``.../.default``)."""
        if scope not in self._tokens:
            topology = self._topology
            form = {
                "grant_type": "client_credentials",
                "client_id": topology.owner_client_id,
                "client_secret": topology.owner_client_secret,
                "scope": scope,
            }
            url = f"{topology.entra_url}/{quote(topology.tenant_id)}/oauth2/v2.0/token"
            async with self._session.post(url, data=form) as response:
                if response.status != 200:
                    raise RefusedError(f"no token for the owner: {response.status} {await response.text()}")
                self._tokens[scope] = (await response.json())["access_token"]
        return self._tokens[scope]

    async def put_resource(self, path: str, api_version: str, body: dict[str, Any]) -> dict[str, Any]:
        """PUT a resource and wait until it is provisioned.

        Args:
            path: ARM id.
            api_version: The provider's.
            body: The resource as the provider wants it.

        Returns:
            The resource as GET answers it.

        Raises:
            RefusedError: An error, or not provisioned in 30 seconds.
        """
        url = f"{self._topology.arm_url}{path}?api-version={api_version}"
        headers = {"Authorization": f"Bearer {await self.token(ARM_SCOPE)}"}
        status, answer = await self.request("PUT", url, body=body, headers=headers)
        deadline = time.monotonic() + self._limit_seconds
        while status == 202 or not _is_provisioned(answer):
            if time.monotonic() > deadline:
                raise RefusedError(f"{path} was not provisioned in {self._limit_seconds:.0f} s: {answer}")
            await asyncio.sleep(POLL_SECONDS)
            status, answer = await self.request("GET", url, headers=headers, accepted=(200, 404))
            if status == 404:
                status = 202
        return answer

    async def get_resource(self, path: str, api_version: str) -> dict[str, Any]:
        """GET a resource.

        Raises:
            RefusedError: It does not exist, or another error.
        """
        url = f"{self._topology.arm_url}{path}?api-version={api_version}"
        headers = {"Authorization": f"Bearer {await self.token(ARM_SCOPE)}"}
        _, answer = await self.request("GET", url, headers=headers, accepted=(200,))
        return answer

    async def delete_resource(self, path: str, api_version: str) -> None:
        """DELETE a resource and wait until GET answers 404.

        Raises:
            RefusedError: An error, or still there after 30 seconds.
        """
        url = f"{self._topology.arm_url}{path}?api-version={api_version}"
        headers = {"Authorization": f"Bearer {await self.token(ARM_SCOPE)}"}
        await self.request("DELETE", url, headers=headers)
        deadline = time.monotonic() + self._limit_seconds
        while time.monotonic() < deadline:
            status, _ = await self.request("GET", url, headers=headers, accepted=(200, 404))
            if status == 404:
                return
            await asyncio.sleep(POLL_SECONDS)
        raise RefusedError(f"{path} was not deleted in {self._limit_seconds:.0f} s")

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
        accepted: tuple[int, ...] = (200, 201, 202, 204),
    ) -> tuple[int, dict[str, Any]]:
        """Send one request.

        Returns:
            Status, and the JSON object answered (empty for anything else).

        Raises:
            RefusedError: A status that is not accepted.
        """
        content = {} if body is None else {"json": body}
        async with self._session.request(method, url, headers=headers, **content) as response:
            text = await response.text()
            if response.status not in accepted:
                raise RefusedError(f"{method} {url} answered {response.status}: {text}")
        try:
            answer = json.loads(text)
        except json.JSONDecodeError:
            answer = {}
        return response.status, answer if isinstance(answer, dict) else {}


def _is_provisioned(resource: dict[str, Any]) -> bool:
    state = (resource.get("properties") or {}).get("provisioningState", "Succeeded")
    return str(state) == "Succeeded"
