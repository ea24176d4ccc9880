"""Everything the emulator remembers, with a snapshot so that a restart keeps the world."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.arm.ids import id_key, is_at_or_below

SNAPSHOT_DELAY_SECONDS = 0.25
"""Writes that come close together share one snapshot."""

Body = dict[str, Any]


class Store:
    """Resources by folded id, with private notes about them that no client sees."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pending: asyncio.TimerHandle | None = None
        raw: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self.resources: dict[str, Body] = raw.get("resources", {})
        self.notes: dict[str, Body] = raw.get("notes", {})
        self.deleted_vaults: dict[str, Body] = raw.get("deleted_vaults", {})
        self.operations: dict[str, Body] = raw.get("operations", {})
        self.event_subscriptions: list[Body] = raw.get("event_subscriptions", [])
        self._by_type: dict[str, dict[str, Body]] = {}
        for key, body in self.resources.items():
            self._index(body).setdefault(key, body)

    def _index(self, body: Body) -> dict[str, Body]:
        return self._by_type.setdefault(str(body["type"]).lower(), {})

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever stored."""
        return not self.resources

    def get(self, resource_id: str) -> Body | None:
        """The resource of this id, whatever its casing."""
        return self.resources.get(id_key(resource_id))

    def put(self, body: Body) -> None:
        """Keep a resource under its own ``id``."""
        key = id_key(body["id"])
        self.resources[key] = body
        self._index(body)[key] = body
        self.changed()

    def remove(self, resource_id: str) -> Body | None:
        """Forget one resource and its notes."""
        key = id_key(resource_id)
        body = self.resources.pop(key, None)
        self.notes.pop(key, None)
        if body is not None:
            self._index(body).pop(key, None)
            self.changed()
        return body

    def remove_below(self, resource_id: str) -> None:
        """Forget everything nested in, or attached to, a resource."""
        scope = id_key(resource_id)
        for key in [key for key in self.resources if key != scope and is_at_or_below(key, scope)]:
            self.remove(key)

    def note(self, resource_id: str) -> Body:
        """The private notes of a resource; changes are kept after ``changed``."""
        return self.notes.setdefault(id_key(resource_id), {})

    def of_type(self, type_name: str, scope: str = "") -> Iterator[Body]:
        """Resources of one type at or below a scope (everywhere when empty)."""
        scope_key = id_key(scope)
        for key, body in list(self._by_type.get(type_name.lower(), {}).items()):
            if is_at_or_below(key, scope_key):
                yield body

    def below(self, scope: str) -> list[Body]:
        """Every resource strictly below a scope."""
        scope_key = id_key(scope)
        return [
            body
            for key, body in self.resources.items()
            if key != scope_key and is_at_or_below(key, scope_key)
        ]

    def changed(self) -> None:
        """Ask for a snapshot soon; at once when no loop runs (seeding)."""
        if self._pending is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.save()
            return
        self._pending = loop.call_later(SNAPSHOT_DELAY_SECONDS, self.save)

    def save(self) -> None:
        """Write the snapshot atomically."""
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        fresh = self._path.with_suffix(".new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "resources": self.resources,
            "notes": self.notes,
            "deleted_vaults": self.deleted_vaults,
            "operations": self.operations,
            "event_subscriptions": self.event_subscriptions,
        }
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(content))
        os.replace(fresh, self._path)  # noqa: PTH105
