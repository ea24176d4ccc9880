"""Any ARM resource by its id, through a client that knows no resource type.

One GET answers "is it there" and "what does it look like" for every target of the catalogue, present and
future, and needs no SDK per service.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from typing import Any

from shared.clients.arm_connection import ArmConnection, items_of
from shared.clients.arm_errors import ask
from shared.clients.error_rules import Intent
from shared.errors import PermanentError, TransientError
from shared.ports import Lock

LIST_API_VERSION = "2021-04-01"
LOCKS_API_VERSION = "2020-05-01"
_LOCK = re.compile("/providers/Microsoft.Authorization/locks/", re.IGNORECASE)


class ArmResources:
    """``ports.Resources`` over Azure.

    Args:
        arm: How to reach Resource Manager.
    """

    def __init__(self, arm: ArmConnection) -> None:
        self._arm = arm

    async def get(self, resource_id: str, *, api_version: str) -> Mapping[str, Any] | None:
        """The resource's JSON; ``None`` only on a definite not-found code, never on a bare 404 or 403."""
        return await ask(self._arm.get_json(resource_id, api_version=api_version), Intent.READ)

    async def list(self, subscription_id: str, *, resource_type: str, name: str = "") -> list[str]:
        """Ids of a subscription's top-level resources of one type, optionally only those of that name.

        Raises:
            PermanentError: ``filter-invalid`` for a type or name that would break out of the filter.
        """
        if "'" in resource_type or "'" in name:
            raise PermanentError("filter-invalid", "a quote in a type or name")
        wanted = f"resourceType eq '{resource_type}'" + (f" and name eq '{name}'" if name else "")
        path = f"/subscriptions/{subscription_id}/resources"
        rows = await self._rows(path, api_version=LIST_API_VERSION, query={"$filter": wanted})
        return [str(item["id"]) for item in rows if item.get("id")]

    async def list_keys(self, resource_id: str, *, action: str, api_version: str) -> Mapping[str, Any] | None:
        """What a resource's action answers that hands out its keys; ``None`` if the resource is gone."""
        asked = self._arm.get_json(f"{resource_id}/{action}", api_version=api_version, method="POST")
        return await ask(asked, Intent.READ)

    async def locks(self, subscription_id: str) -> builtins.list[Lock]:
        """All management locks of a subscription, its groups and resources.

        Management Locks - List At Subscription Level.
        """
        path = f"/subscriptions/{subscription_id}/providers/Microsoft.Authorization/locks"
        return [_lock(row) for row in await self._rows(path, api_version=LOCKS_API_VERSION)]

    async def _rows(
        self, path: str, *, api_version: str, query: Mapping[str, str] | None = None
    ) -> builtins.list[Mapping[str, Any]]:
        """All rows of a list over its pages.

        Raises:
            TransientError: ``list-broken``: a list that may have holes is none.
        """
        found: builtins.list[Mapping[str, Any]] = []
        page: str | None = path
        while page:
            body = await ask(self._arm.get_json(page, api_version=api_version, query=query), Intent.READ)
            if body is None:
                # A subscription that is gone, or a page that vanished.
                raise TransientError("list-broken", path)
            found += items_of(body)
            page, query = body.get("nextLink"), None
        return found

    async def aclose(self) -> None:
        """Nothing is open here; the ARM connection is closed by whoever made it."""


def _lock(row: Mapping[str, Any]) -> Lock:
    resource_id = str(row["id"])
    scope = _LOCK.split(resource_id, maxsplit=1)[0]
    level = str(row.get("properties", {}).get("level", ""))
    return Lock(resource_id=resource_id, scope=scope, name=resource_id.rsplit("/", 1)[-1], level=level)
