"""Orphans over HTTP: listed, read and pruned."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.orphans import Orphan, OrphanKind, orphan_id
from tests.fakes.http_app import SITE, HttpApp
from tests.fakes.local_app import CLUSTER, LocalApp, make_app


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1", MOORING_PRUNE_GRACE_SECONDS="1")


async def test_orphans_are_listed_read_and_pruned(app: LocalApp):
    http = HttpApp(app)
    thing = app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-lost-secret")
    orphan = Orphan(
        orphan_id=orphan_id(OrphanKind.SECRET, cluster_id=CLUSTER, namespace="shop", name="sc-lost-secret"),
        kind=OrphanKind.SECRET,
        cluster_id=CLUSTER,
        namespace="shop",
        name="sc-lost-secret",
        uid=thing.uid,
        rule="no-record",
        evidence={"createdAt": "2026-01-01T00:00:00Z"},
        first_seen_at=app.clock.now(),
        last_seen_at=app.clock.now(),
    )
    await app.services.orphans.put(orphan)
    for params in ({}, {"clusterId": CLUSTER}):
        _, body, _ = await http.call("list_orphans", params=params)
        assert ([one["name"] for one in body["orphans"]], body["truncated"]) == (["sc-lost-secret"], False)
    _, body, _ = await http.call("get_orphan", orphanId=orphan.orphan_id.upper())
    assert (body["rule"], body["evidence"], body["prune"]) == ("no-record", dict(orphan.evidence), None)
    status, opened, headers = await http.call("prune_orphan", orphanId=orphan.orphan_id)
    assert (status, headers["Location"]) == (202, f"{SITE}/api/operations/{opened['operationId']}")
    _, body, _ = await http.call("get_orphan", orphanId=orphan.orphan_id)
    assert body["prune"] == f"{SITE}/api/prunes/{opened['operationId']}"
    status, body, _ = await http.call("list_orphans", params={"clusterId": "x y"})
    assert (status, body["code"]) == (400, "invalid-id")
    app.world.remove(CLUSTER)
    status, body, _ = await http.call("prune_orphan", orphanId=orphan.orphan_id)
    assert (status, body["code"]) == (410, "orphan-gone")


async def test_an_orphan_that_is_none_is_not_found(app: LocalApp):
    for function in ("get_orphan", "prune_orphan"):
        status, body, _ = await HttpApp(app).call(function, orphanId="a/b#?")
        assert (status, body["code"]) == (404, "not-found")
