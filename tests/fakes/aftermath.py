"""What a test of pruning looks at: the world before and after, and what was asked of Azure and Kubernetes."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from shared import naming
from shared.models import Operation
from tests.fakes.local_app import CLUSTER, LocalApp, create_body

OUTSIDE = frozenset({"identities", "roles", "resources", "clusters", "linkers", "prover"})
WRITES = frozenset({"ensure", "delete", "ensure_credential", "delete_credential", "apply", "request_token"})
NOTHING: dict[str, list[str]] = {"identities": [], "assignments": [], "objects": [], "users": []}


def connection(name: str = "orders-blob") -> str:
    """Id of a connection of the local app's cluster and namespace ``shop``."""
    return naming.connection_id(CLUSTER, "shop", name)


async def made(app: LocalApp, name: str = "orders-blob", **changes: Any) -> str:
    """A configured connection; returns its id."""
    await app.send(create_body(name, **changes), message_id=name)
    await app.settle()
    assert await app.state(connection(name)) == "configured"
    return connection(name)


def mark(app: LocalApp) -> int:
    """A place in the journal."""
    return len(app.journal.calls)


def outside_calls(app: LocalApp, since: int = 0) -> Counter[str]:
    """Calls to Azure and Kubernetes since a mark, by port and method."""
    names = [call.name for call in app.journal.calls[since:]]
    return Counter(name for name in names if name.partition(".")[0] in OUTSIDE)


def writes(app: LocalApp, since: int = 0) -> Counter[str]:
    """Those that change something."""
    return Counter({name: n for name, n in outside_calls(app, since).items() if name.split(".")[1] in WRITES})


async def tell(app: LocalApp, *events: Any) -> None:
    """Put events on the queue, a message each."""
    for event in events:
        app.queue.put("resource-events", event if isinstance(event, str) else json.dumps(event))


async def prunes(app: LocalApp, connection_id: str) -> list[Operation]:
    """Prunes of a connection, oldest first."""
    return [one for one in await app.operations(connection_id) if one.kind.value == "prune"]


async def identity_of(app: LocalApp, connection_id: str) -> str:
    """Id of a connection's identity."""
    intents = await app.services.state.intents(connection_id)  # type: ignore[arg-type]
    return str(intents["managed_identity"].outputs["resourceId"])
