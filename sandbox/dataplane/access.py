"""What Resource Manager knows: which resources exist, and who may do what on them.

Nothing is cached, so that a grant and a revocation show in the next request. (In Azure they take
up to ten minutes; ``sandbox/arm`` is where such a delay is set.)
"""

from __future__ import annotations

import dataclasses

import aiohttp

from sandbox.topology import Topology


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource with a data plane."""

    id: str
    incarnation: str
    """Different for a resource that was deleted and made again under the same name, where its
    provider keeps a time of creation (storage accounts do, vaults do not)."""
    by_roles: bool = True
    """False for a vault that goes by access policies: role assignments give nothing there."""


class AccessChecks:
    """Asks the Resource Manager emulator's control endpoints."""

    def __init__(self, topology: Topology, session: aiohttp.ClientSession) -> None:
        self._arm_url = topology.arm_url
        self._session = session

    async def resource(self, resource_type: str, name: str) -> Resource | None:
        """Find the living resource of a globally unique name, or ``None``."""
        query = {"type": resource_type, "name": name}
        async with self._session.get(f"{self._arm_url}/sandbox/resources", params=query) as response:
            response.raise_for_status()
            found = await response.json()
        for body in found:
            properties = body["properties"]
            if (
                str(body["type"]).lower() == resource_type.lower()
                and str(body["name"]).lower() == name.lower()
                and properties.get("provisioningState", "Succeeded") != "Creating"
            ):
                return Resource(
                    id=body["id"],
                    incarnation=str(properties.get("creationTime", "")),
                    by_roles=properties.get("enableRbacAuthorization", True) is True,
                )
        return None

    async def allowed(
        self,
        principal_id: str,
        scope: str,
        *,
        action: str = "",
        data_action: str = "",
    ) -> bool:
        """Say whether a role assignment at or above ``scope`` grants the (data) action."""
        query = {"principalId": principal_id, "scope": scope}
        if action:
            query["action"] = action
        if data_action:
            query["dataAction"] = data_action
        async with self._session.get(f"{self._arm_url}/sandbox/access", params=query) as response:
            response.raise_for_status()
            return bool((await response.json())["allowed"])
