"""Any ARM resource by its id, through a client that knows no resource type.

One GET answers "is it there" and "what does it look like" for every target of the catalogue, present and
future, and needs no SDK per service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.clients.arm_connection import ArmConnection
from shared.clients.arm_errors import ask
from shared.clients.error_rules import Intent


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

    async def aclose(self) -> None:
        """Nothing is open here; the ARM connection is closed by whoever made it."""
