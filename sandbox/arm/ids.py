"""Resource ids: one reading of a path for every part of the emulator.

An ARM id names a resource by its last ``/providers/`` segment; everything before it is the scope
of that (possibly extension) resource. Ids compare without regard to case, whoever wrote them.
"""

from __future__ import annotations

import dataclasses

GROUP_TYPE = "Microsoft.Resources/subscriptions/resourceGroups"
SUBSCRIPTION_TYPE = "Microsoft.Resources/subscriptions"


def id_key(resource_id: str) -> str:
    """Fold an id to the form in which ids are compared: one leading slash, lower case."""
    return "/" + "/".join(part for part in resource_id.lower().split("/") if part)


def is_at_or_below(key: str, scope_key: str) -> bool:
    """Say whether a folded id is a folded scope or lies below it, by whole segments."""
    return scope_key in {"/", key} or key.startswith(scope_key + "/")


@dataclasses.dataclass(frozen=True, slots=True)
class ResourceId:
    """A path split into what Resource Manager sees in it.

    ``names`` is one shorter than ``types`` when the path names a collection or an action.
    """

    text: str
    subscription: str
    group: str
    namespace: str
    types: tuple[str, ...]
    names: tuple[str, ...]
    scope: str
    """What stands before the last ``/providers/``: group, subscription, another resource, or ``""``."""

    @property
    def key(self) -> str:
        """The id folded for comparison."""
        return id_key(self.text)

    @property
    def type(self) -> str:
        """Namespace and types, as written: ``Microsoft.Storage/storageAccounts``."""
        if self.namespace:
            return "/".join((self.namespace, *self.types))
        return GROUP_TYPE if self.group else SUBSCRIPTION_TYPE

    @property
    def name(self) -> str:
        """The last name of the path."""
        return self.names[-1] if self.names else self.group or self.subscription

    @property
    def is_collection(self) -> bool:
        """Whether the path stops at a type."""
        return len(self.types) > len(self.names)

    @property
    def is_extension(self) -> bool:
        """Whether the resource hangs on another resource."""
        return "/providers/" in self.scope.lower()

    @property
    def parent(self) -> str:
        """Id of the resource this one is nested in, or its scope for a top-level one."""
        if len(self.types) < 2:
            return self.scope
        pairs = zip(self.types[:-1], self.names, strict=False)
        return f"{self.scope}/providers/{self.namespace}/" + "/".join(f"{t}/{n}" for t, n in pairs)

    @property
    def gateway_name(self) -> str:
        """The form in error messages: ``Microsoft.Storage/storageAccounts/name``."""
        pairs = zip(self.types, self.names, strict=False)
        return "/".join((self.namespace, *(f"{t}/{n}" for t, n in pairs)))


def parse_id(path: str) -> ResourceId:
    """Split an id, a collection path or an action path; never fails, unknown parts stay empty."""
    parts = [part for part in path.split("/") if part]
    lower = [part.lower() for part in parts]
    text = "/" + "/".join(parts)
    subscription = parts[1] if len(parts) > 1 and lower[0] == "subscriptions" else ""
    group = parts[3] if subscription and len(parts) > 3 and lower[2] == "resourcegroups" else ""
    if "providers" not in lower:
        return ResourceId(text, subscription, group, "", (), (), "")
    at = len(lower) - 1 - lower[::-1].index("providers")
    scope = "/" + "/".join(parts[:at]) if at else ""
    rest = parts[at + 1 :]
    if not rest:
        return ResourceId(text, subscription, group, "", (), (), scope)
    return ResourceId(text, subscription, group, rest[0], tuple(rest[1::2]), tuple(rest[2::2]), scope)
