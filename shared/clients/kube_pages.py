"""Collections of a cluster, page after page."""

from __future__ import annotations

import functools
from typing import Any

from shared.clients.cluster_reach import ClusterReach
from shared.clients.error_rules import Intent
from shared.clients.kube_connection import KubeConnection
from shared.errors import TransientError

PAGE_LIMIT = 500


async def pages(
    reach: ClusterReach, cluster_id: str, path: str, *, accept: str = "application/json"
) -> list[dict[str, Any]]:
    """Items of a collection.

    Raises:
        TransientError: ``list-broken``: an empty list answers 200; one that is missing, or has a hole, must
            not pass for empty.
    """
    items: list[dict[str, Any]] = []
    resume = ""
    while True:
        query = {"limit": str(PAGE_LIMIT), **({"continue": resume} if resume else {})}
        read = functools.partial(
            KubeConnection.send, method="GET", path=path, intent=Intent.READ, query=query, accept=accept
        )
        page = await reach.call(cluster_id, read)
        if page is None or "items" not in page:
            raise TransientError("list-broken", path)
        # Go writes an empty list as null now and then.
        items += page["items"] or []
        resume = (page.get("metadata") or {}).get("continue") or ""
        if not resume:
            return items
