"""Function keys: which access a key gives.

Order of matching: ``SecretManager`` of the host. Master, then system keys, then host keys.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Mapping

MASTER = "master"
DEFAULT = "default"
EVENT_GRID = "eventgrid_extension"


class Access(enum.Enum):
    """What kind of key a request carries."""

    NONE = "none"
    FUNCTION = "function"
    SYSTEM = "system"
    ADMIN = "admin"


class KeyRing:
    """The keys of one host.

    Every name but ``master`` and those that end in ``_extension`` is a host function key.
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._keys = dict(keys)

    def access(self, key: str | None) -> tuple[Access, str]:
        """Return the kind of access of a presented key, and the name of the key."""
        if not key:
            return Access.NONE, ""
        found = [name for name, value in self._keys.items() if value and _same(value, key)]
        if MASTER in found:
            return Access.ADMIN, MASTER
        for name in found:
            if name.endswith("_extension"):
                return Access.SYSTEM, name
        return (Access.FUNCTION, found[0]) if found else (Access.NONE, "")

    def allows_http(self, key: str | None, level: str) -> bool:
        """Say whether a key opens an HTTP function of that auth level (any case)."""
        access, _ = self.access(key)
        match level.lower():
            case "anonymous":
                return True
            case "function":
                return access in {Access.FUNCTION, Access.ADMIN}
            case _:
                return access is Access.ADMIN

    def webhook_status(self, key: str | None, extension: str = EVENT_GRID) -> int:
        """Return 200 when a key opens an extension's webhook, 401 without a valid key, else 403."""
        access, name = self.access(key)
        if access is Access.NONE:
            return 401
        if access is Access.ADMIN or (access is Access.SYSTEM and name == extension):
            return 200
        return 403


def _same(value: str, key: str) -> bool:
    return hmac.compare_digest(value.encode(), key.encode("utf-8", "surrogateescape"))
