"""Puts what an older version left into the in-memory ports of this one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.ports import Credential, Identity, Insert, Linker, ManagedCluster, RoleAssignment
from tests.fakes.azure_world import StoredCluster, StoredObject
from tests.fakes.local_app import LocalApp, make_app

DATA = Path(__file__).resolve().parents[1] / "data" / "upgrade"
Scene = dict[str, Any]


def scenes() -> dict[str, Scene]:
    """Every recorded scene, as ``<commit>-<name>``."""
    found: dict[str, Scene] = {}
    for file in sorted(DATA.glob("*.json")):
        recorded = json.loads(file.read_text(encoding="utf-8"))
        found |= {f"{recorded['commit']}-{name}": scene for name, scene in recorded["scenes"].items()}
    return found


async def loaded(scene: Scene, folder: Path) -> LocalApp:
    """An app of this version that finds the scene: its tables, its queues, and the world around it."""
    app = make_app(folder, **scene["settings"])
    _world(app, scene["world"], scene["number"])
    rows = [(table, row) for table, found in scene["tables"].items() for row in found]
    for table, row in sorted(rows, key=lambda pair: str(pair[1]["writtenAt"])):
        _wait_until(app, row["writtenAt"])
        await app.store.transact(table, row["partition"], [Insert(key=row["key"], columns=row["columns"])])
    _wait_until(app, scene["now"])
    for queue, waiting in scene["queues"].items():
        for one in waiting:
            delay = datetime.fromisoformat(one["visibleAt"]) - app.clock.now()
            app.queue.put(queue, one["text"], max(0.0, delay.total_seconds()))
    return app


def _wait_until(app: LocalApp, instant: str) -> None:
    app.clock.advance((datetime.fromisoformat(instant) - app.clock.now()).total_seconds())


def _world(app: LocalApp, world: Mapping[str, Any], number: int) -> None:
    there = app.world
    there.groups = set(world["groups"])
    there.resources = dict(world["resources"])
    there.identities = {key: Identity(**one) for key, one in world["identities"].items()}
    there.credentials = {
        key: {name: _credential(one) for name, one in found.items()}
        for key, found in world["credentials"].items()
    }
    there.assignments = {(scope, name): RoleAssignment(**one) for (scope, name), one in world["assignments"]}
    there.linkers = {key: Linker(**one) for key, one in world["linkers"].items()}
    there.clusters = {key: _cluster(one) for key, one in world["clusters"].items()}
    there.data_planes = dict(world["data_planes"])
    there._number = number


def _credential(one: Mapping[str, Any]) -> Credential:
    return Credential(**{**one, "audiences": tuple(one["audiences"])})


def _cluster(one: Mapping[str, Any]) -> StoredCluster:
    own = tuple(one["described"]["forbidden_identities"])
    described = {"entra": True, **one["described"], "forbidden_identities": own}
    return StoredCluster(
        described=ManagedCluster(**described),
        namespaces=set(one["namespaces"]),
        terminating=set(one["terminating"]),
        objects={(kind, namespace, name): _object(body) for (kind, namespace, name), body in one["objects"]},
        pods={(namespace, name): body for (namespace, name), body in one["pods"] or ()},
        workloads={tuple(key): body for key, body in one["workloads"] or ()},
        reachable=one["reachable"],
    )


def _object(one: Mapping[str, Any]) -> StoredObject:
    owners = {
        name: {(part, field) for part, field in owned} for name, owned in dict(one["owners"] or {}).items()
    }
    return StoredObject(**{**one, "owners": owners})
