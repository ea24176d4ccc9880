"""Which class answers for which resource type; types nobody wrote a class for are kept as posted."""

from __future__ import annotations

from sandbox.arm.provider import ResourceType
from sandbox.arm.world import World


class Registry:
    """Resource types by folded name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._types: dict[str, ResourceType] = {}

    def add(self, provider: ResourceType) -> None:
        """Make a provider answer for its type."""
        self._types[provider.type.lower()] = provider

    def of(self, type_name: str) -> ResourceType:
        """The provider of a type; a generic one under the first caller's spelling if it is new."""
        found = self._types.get(type_name.lower())
        if found is None:
            found = self._types[type_name.lower()] = ResourceType(self._world, type_name)
        return found
