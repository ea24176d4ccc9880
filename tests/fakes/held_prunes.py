"""Connections whose prunes the cap of their cluster holds."""

from __future__ import annotations

from pathlib import Path

from shared.models import Operation
from tests.fakes.local_app import STORAGE, LocalApp, create_body, deletion_event, make_app


async def held_by_cap(tmp_path: Path, *, connections: int = 2) -> tuple[LocalApp, list[Operation]]:
    """Connections whose target is gone, in a cluster that sees one prune an hour: all but one are held."""
    settings = {"MOORING_PRUNE_CONFIRM_SECONDS": "1", "MOORING_PRUNE_GRACE_SECONDS": "1"}
    app = make_app(tmp_path, MOORING_PRUNE_CAP_PER_HOUR="1", **settings)
    for name in ("one", "two", "three", "four")[:connections]:
        await app.send(create_body(name), message_id=name)
        await app.settle()
    app.world.remove(STORAGE)
    app.queue.put("resource-events", deletion_event(STORAGE))
    await app.settle(seconds=120)
    found = [one for key in _ids(app) for one in await app.operations(key)]
    held = [one for one in found if one.state == "held"]
    assert [one.waiting for one in held] == ["cap"] * (connections - 1)
    return app, held


def _ids(app: LocalApp) -> list[str]:
    return sorted({row.partition for row in app.store.rows("connections")})


async def read_again(app: LocalApp, prune: Operation) -> Operation:
    stored = await app.services.state.operation(prune.operation_id)
    assert stored is not None
    return stored.value
