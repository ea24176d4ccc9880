"""Service Connector's connections of a cluster, read through the generic client.

azure-mgmt-servicelinker 1.1.0 needs a package it does not declare and speaks an API version of 2022, so the
two GETs that we need are made without it, at API version 2024-04-01.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.clients.arm_connection import ArmConnection, items_of
from shared.clients.arm_errors import ask
from shared.clients.error_rules import Intent
from shared.errors import TransientError
from shared.ports import Linker

API_VERSION = "2024-04-01"
DEFAULT_NAMESPACE = "default"


class ServiceLinkers:
    """``ports.Linkers`` over Azure.

    Args:
        arm: How to reach Resource Manager.
    """

    def __init__(self, arm: ArmConnection) -> None:
        self._arm = arm

    async def get(self, linker_id: str) -> Linker | None:
        """Read one linker."""
        found = await ask(self._arm.get_json(linker_id, api_version=API_VERSION), Intent.READ)
        return None if found is None else linker_of(found)

    async def list(self, cluster_id: str) -> list[Linker]:
        """All linkers of a cluster; empty if the cluster is gone."""
        found: list[Linker] = []
        first = f"{cluster_id}/providers/Microsoft.ServiceLinker/linkers"
        page: str | None = first
        while page:
            body = await ask(self._arm.get_json(page, api_version=API_VERSION), Intent.READ)
            if body is None and page != first:
                raise TransientError("list-broken", "a page of the linkers is missing")
            if body is None:
                return []
            found += [linker_of(item) for item in items_of(body)]
            page = body.get("nextLink")
        return found

    async def aclose(self) -> None:
        """Nothing is open here; the ARM connection is closed by whoever made it."""


def linker_of(body: Mapping[str, Any]) -> Linker:
    """Read a linker's JSON; fields of other kinds of linkers are left out."""
    properties = body.get("properties") or {}
    target = properties.get("targetService") or {}
    authentication = properties.get("authInfo") or {}
    return Linker(
        resource_id=body.get("id", ""),
        name=body.get("name", ""),
        namespace=properties.get("scope") or DEFAULT_NAMESPACE,
        target_id=target.get("id") or "",
        client_id=str(authentication.get("clientId") or "").lower(),
        client_type=properties.get("clientType") or "none",
        provisioning_state=properties.get("provisioningState") or "",
        auth_type=authentication.get("authType") or "",
        identity_subscription_id=str(authentication.get("subscriptionId") or "").lower(),
    )
