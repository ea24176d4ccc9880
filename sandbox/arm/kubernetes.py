"""The emulated clusters as Azure's own services reach them: control endpoints and the admin token."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp

from sandbox.arm.errors import ArmError
from sandbox.arm.world import World


class Clusters:
    """Makes and drops API servers, and writes objects as Service Connector's operator does."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _control_url(self, name: str) -> str:
        return f"{self._world.topology.kubernetes_url}/sandbox/clusters/{quote(name)}"

    async def make(self, name: str, incarnation: str) -> tuple[str, str]:
        """Start (or find) the API server of a cluster; returns its URL and its issuer.

        Raises:
            ArmError: 500 when the cluster cannot be started.
        """
        try:
            async with self._world.http.put(
                self._control_url(name), json={"incarnation": incarnation}
            ) as answer:
                answer.raise_for_status()
                made = await answer.json()
        except aiohttp.ClientError as error:
            raise ArmError(
                500,
                "InternalOperationError",
                f"The control plane of cluster '{name}' could not be started.",
                wrapped=False,
            ) from error
        return made["server"], made["issuer"]

    async def drop(self, name: str) -> None:
        """Stop the API server and forget its objects; one that is gone already is fine.

        Raises:
            ArmError: 500 when the cluster cannot be stopped.
        """
        try:
            async with self._world.http.delete(self._control_url(name)) as answer:
                if answer.status != 404:
                    answer.raise_for_status()
        except aiohttp.ClientError as error:
            message = f"The control plane of cluster '{name}' could not be removed."
            raise ArmError(500, "InternalOperationError", message, wrapped=False) from error

    async def write(self, server: str, collection: str, body: dict[str, Any]) -> None:
        """Create an object, or merge it into the one that is there.

        Raises:
            ArmError: 400 ``GeneralUserError`` with the API server's reason.
        """
        headers = {"Authorization": f"Bearer {self._world.topology.kubernetes_admin_token}"}
        url = f"{server}{collection}"
        async with self._world.http.post(url, json=body, headers=headers) as answer:
            if answer.status in {200, 201}:
                return
            if answer.status != 409:
                raise _refused(await answer.text())
        merge = {**headers, "Content-Type": "application/merge-patch+json"}
        async with self._world.http.patch(
            f"{url}/{body['metadata']['name']}", json=body, headers=merge
        ) as answer:
            if answer.status not in {200, 201}:
                raise _refused(await answer.text())


def _refused(reason: str) -> ArmError:
    return ArmError(400, "GeneralUserError", f"Failed to write Kubernetes resources: {reason[:300]}")
