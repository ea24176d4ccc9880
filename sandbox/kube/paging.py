"""Lists in pages: limit, continue, and the 410 of a token whose snapshot is gone."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from sandbox.kube.errors import bad_request, expired
from sandbox.kube.resources import Object, Resource
from sandbox.kube.selectors import Predicate
from sandbox.kube.store import Key, Store


def _token(version: int, last: Key) -> str:
    raw = json.dumps({"v": version, "after": [last.namespace, last.name]}).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _parsed(token: str) -> tuple[int, tuple[str, str]]:
    try:
        raw = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = raw["after"]
        return int(raw["v"]), (namespace, name)
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise bad_request("continue key is not valid") from None


def page(
    store: Store,
    resource: Resource,
    namespace: str,
    predicate: Predicate | None,
    *,
    limit: int,
    token: str,
) -> tuple[dict[str, Any], list[Object]]:
    """One page of a list.

    Args:
        store: The cluster's objects.
        resource: The kind to list.
        namespace: Empty for all namespaces.
        predicate: Which objects to show, None for all; with one, the server cannot say how many remain.
        limit: Most objects of the page, 0 for all.
        token: ``continue`` of the page before, or empty. A token of version -1 lists what is there now.

    Returns:
        The list's metadata and its objects.

    Raises:
        ApiError: 400 for a malformed token, 410 with a fresh token when its version is gone.
    """
    version, after = store.version, None
    rows = store.each(resource.qualified, namespace)
    if token:
        version, after = _parsed(token)
        if version < 0:
            version = store.version
        else:
            older = store.each_at(resource.qualified, namespace, version)
            if older is None:
                message = (
                    "The provided continue parameter is too old to display a consistent list result. "
                    "You can start a new list without the continue parameter, or use the continue token "
                    "in this response to retrieve the remainder of the results."
                )
                raise expired(message, _token(-1, Key(resource.qualified, *after)))
            rows = older
    found = [
        (key, stored)
        for key, stored in rows
        if (after is None or (key.namespace, key.name) > after) and (predicate is None or predicate(stored))
    ]
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if limit and len(found) > limit:
        metadata["continue"] = _token(version, found[limit - 1][0])
        if predicate is None:
            metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    return metadata, [stored for _, stored in found]
