"""Watches: changes as they happen, from a version on."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from sandbox.kube.errors import bad_request, expired
from sandbox.kube.registry import Target
from sandbox.kube.representation import Shape
from sandbox.kube.resources import Object
from sandbox.kube.selectors import Predicate
from sandbox.kube.store import Change, Store

CONNECTION_CHECK_SECONDS = 1.0
"""How soon a watch notices that its client is gone."""


class Watch:
    """One client's watch of one kind.

    Args:
        store: The cluster's objects.
        target: Kind and namespace (empty for all).
        predicate: Which objects to tell about, None for all.
        shape: How the client wants them.
    """

    def __init__(self, store: Store, target: Target, predicate: Predicate | None, shape: Shape) -> None:
        self._store = store
        self._target = target
        self._predicate = predicate
        self._shape = shape

    async def serve(self, request: web.Request, since: str, timeout_seconds: float) -> web.StreamResponse:
        """Stream events until the time is up or the client goes.

        Args:
            request: The client's request.
            since: A resourceVersion; empty or ``0`` begins with the objects that are there.
            timeout_seconds: 0 for the server's own limit of 30 to 60 minutes.

        Raises:
            ApiError: 400 for a malformed version, 410 for one that is no longer kept.
        """
        if since and not since.isdigit():
            raise bad_request(f"Invalid value: {since!r}: invalid resource version")
        version = int(since or 0)
        if version and version < self._store.compacted:
            raise expired(f"too old resource version: {version} ({self._store.compacted})")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        changed = self._store.subscribe()
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + (timeout_seconds or random.uniform(1800, 3600))  # noqa: S311 - spreads load
        try:
            await response.prepare(request)
            if not version:
                version = self._store.version
                for event in self._present():
                    await _send(response, event)
            while True:
                changed.clear()
                if version < self._store.compacted:
                    status = expired(f"too old resource version: {version}").status
                    await _send(response, {"type": "ERROR", "object": status})
                    break
                upto = self._store.version
                for event in self._since(version):
                    await _send(response, event)
                version = upto
                left = ends_at - loop.time()
                if left <= 0 or request.transport is None or request.transport.is_closing():
                    break
                try:
                    await asyncio.wait_for(changed.wait(), min(left, CONNECTION_CHECK_SECONDS))
                except TimeoutError:
                    continue
            await response.write_eof()
        except ConnectionError:
            pass
        finally:
            self._store.unsubscribe(changed)
        return response

    def _present(self) -> list[dict[str, Any]]:
        return [
            self._event("ADDED", stored)
            for _, stored in self._store.each(self._target.resource.qualified, self._target.namespace)
            if self._predicate is None or self._predicate(stored)
        ]

    def _since(self, version: int) -> Iterator[dict[str, Any]]:
        newer = []
        for change in reversed(self._store.changes):
            if change.version <= version:
                break
            newer.append(change)
        for change in reversed(newer):
            event = self._told(change)
            if event is not None:
                yield event

    def _told(self, change: Change) -> dict[str, Any] | None:
        if change.key.resource != self._target.resource.qualified:
            return None
        if self._target.namespace and change.key.namespace != self._target.namespace:
            return None
        if self._predicate is None:
            return self._event(change.type, change.new)
        was = change.old is not None and self._predicate(change.old)
        now = change.type != "DELETED" and self._predicate(change.new)
        if not was and not now:
            return None
        kind = "MODIFIED" if was and now else "ADDED" if now else "DELETED"
        return self._event(kind, change.new)

    def _event(self, kind: str, shown: Object) -> dict[str, Any]:
        return {"type": kind, "object": self._shape.single(self._target.resource, shown)}


async def _send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(json.dumps(event).encode() + b"\n")
