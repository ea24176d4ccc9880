"""Any ARM resource by its id, through a client that knows no resource type.

One GET answers "is it there" and "what does it look like" for every target of the catalogue, present and
future, and needs no SDK per service.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from shared.clients.arm_connection import ArmConnection
from shared.clients.arm_errors import ask
from shared.clients.error_rules import Intent
from shared.errors import PermanentError, TransientError

LIST_API_VERSION = "2021-04-01"


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
        found: builtins.list[str] = []
        page: str | None = f"/subscriptions/{subscription_id}/resources"
        query: Mapping[str, str] = {"$filter": wanted}
        while page:
            body = await ask(self._arm.get_json(page, api_version=LIST_API_VERSION, query=query), Intent.READ)
            if body is None:
                # A subscription that is gone, or a page that vanished: a list that may have holes is none.
                raise TransientError("list-broken", f"resources of {subscription_id}")
            found += [str(item["id"]) for item in body.get("value", []) if item.get("id")]
            page, query = body.get("nextLink"), {}
        return found

    async def aclose(self) -> None:
        """Nothing is open here; the ARM connection is closed by whoever made it."""
