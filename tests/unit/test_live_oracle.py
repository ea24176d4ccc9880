"""The oracle in the fakes sees what it is there for: with a guard taken away, something alive is pruned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.steps import objects, settings
from shared.steps.base import ANNOTATION_KEEP
from tests.fakes.live_oracle import ORACLES
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, deletion_event, make_app

SECRET = "sc-ordersblob-secret"
POD = {"containers": [{"envFrom": [{"secretRef": {"name": SECRET}}]}]}


async def pruned(folder: Path) -> LocalApp:
    """Make a connection, let a pod use its secret, lose its target."""
    app = make_app(folder, MOORING_PRUNE_GRACE_SECONDS="0")
    await app.send(create_body())
    await app.settle()
    app.clusters.put_pod(CLUSTER, "shop", "reader", POD)
    app.world.remove(STORAGE)
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle()
    return app


def seen() -> list[str]:
    """What the oracles of this test have seen, which is then forgotten: it was meant."""
    found = [one for oracle in ORACLES for one in oracle.live]
    ORACLES.clear()
    return found


async def test_it_sees_nothing_where_the_guards_stand(tmp_path: Path):
    app = await pruned(tmp_path)
    assert app.oracle.removals > 0, "access in Azure is revoked"
    assert seen() == []


async def test_it_sees_a_secret_go_that_a_pod_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def blind(*_: Any, **__: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(settings, "hold_if_used", blind)
    await pruned(tmp_path)
    assert seen() == [f"Secret shop/{SECRET} is used by Pod reader"]


async def test_it_sees_an_object_go_that_bears_the_keep_annotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    await app.send(create_body())
    await app.settle()
    for cluster in app.world.clusters.values():
        cluster.objects["Secret", "shop", SECRET].annotations[ANNOTATION_KEEP] = "yes"
    monkeypatch.setattr(objects, "ANNOTATION_KEEP", "nobody.reads/this")
    app.world.remove(STORAGE)
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle()
    assert seen() == [f"Secret shop/{SECRET} bears the keep annotation"]
