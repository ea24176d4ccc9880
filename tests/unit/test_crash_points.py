"""A crash before or after every single call of a port: the end is the same, and a delete leaves nothing.

Here what people ask for; ``test_crash_points_prunes.py`` has what is pruned without being asked for.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from shared import naming
from shared.models import Kind
from tests.fakes.crash_host import Host, ask
from tests.fakes.crash_points import ID, Story, end_of, quiet
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, create_body, delete_body, deletion_event

EMPTY = {"identities": [], "assignments": [], "objects": [], "users": []}
SETTING = "AZURE_STORAGEBLOB_RESOURCEENDPOINT"
UPDATED: dict[str, Any] = {
    "clientType": "springBoot",
    "intent": "read",
    "target": {"type": "storage-blob", "id": f"{STORAGE}/blobServices/default/containers/orders"},
}
"""Another role on another scope, and other keys."""


async def created(host: Host) -> None:
    ask(host.app, create_body(), "before")
    await host.settle()


async def cut_off(host: Host) -> None:
    """A create whose host has died in the middle: its lease lives, and its message comes back."""
    ask(host.app, create_body(), "before")
    await host.cut_off("identities.ensure_credential")
    host.app.clock.advance(1)


async def pruned(host: Host) -> None:
    await created(host)
    host.app.world.remove(STORAGE)
    host.app.queue.put("resource-events", deletion_event(STORAGE))
    await host.settle()


def create(app: LocalApp) -> None:
    ask(app, create_body(), "the-create")


def delete(app: LocalApp) -> None:
    ask(app, delete_body(), "the-delete")


def update(app: LocalApp) -> None:
    container = UPDATED["target"]["id"]
    app.world.add_resource(container)
    facts = {"endpoint": "https://orders.blob.core.windows.net/", "container": "orders"}
    read = app.services.catalogue.find("storage-blob").read(container, facts, intent="read")
    assert read is not None
    app.world.data_planes[read.url] = container
    ask(app, {**create_body(**UPDATED), "action": "update"}, "the-update")


def repair(app: LocalApp) -> None:
    """Some of it deleted, the rest edited."""
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    app.world.assignments.clear()
    for found in app.world.credentials.values():
        for name, one in found.items():
            found[name] = dataclasses.replace(one, subject="system:serviceaccount:other:other")
    for key in [key for key in objects if key[0] == "ServiceAccount"]:
        del objects[key]
    for key in objects:
        app.clusters.put_object(CLUSTER, *key, data={SETTING: "https://elsewhere.example/"})
    ask(app, {**delete_body(), "action": "repair"}, "the-repair")


def validate(app: LocalApp) -> None:
    ask(app, {"action": "validate", "connectionId": ID}, "the-validation")


def restore(app: LocalApp) -> None:
    app.queue.put("calls", "")


async def restoring(app: LocalApp) -> object:
    [prune] = [one for one in await app.operations(ID) if one.kind is Kind.PRUNE]
    return await app.services.restorer.restore(prune.operation_id, key="the-restore")


STORIES = {
    "create": Story(begins=create, ends="usable"),
    "delete": Story(before=created, begins=delete, ends="deleted"),
    "delete that overtakes": Story(before=cut_off, begins=delete, ends="deleted"),
    "repair": Story(before=created, begins=repair, ends="usable"),
    "restore": Story(before=pruned, begins=restore, called=restoring, ends="restored"),
    "update": Story(before=created, begins=update, ends="usable"),
    "validate": Story(before=created, begins=validate, ends="usable"),
}


async def assert_same_end_whoever_dies(story: Story, folder: Path) -> dict[str, Any]:
    """Every point of a story leads to the end of its quiet run, and then nothing of ours is left."""
    watched = await quiet(story, folder)
    expected = await end_of(story, watched.host)
    assert expected["state"] == story.ends
    assert expected["open"] == []
    for point in watched.points.values():
        host = point.resume(story, folder)
        await host.settle()
        assert await end_of(story, host) == expected, point.where
        await story.last(host)
        assert host.app.leftovers() == {**EMPTY, **story.left}, point.where
        assert await host.app.services.state.intents(story.connection_id) == {}, point.where
        assert host.app.oracle.live == [], point.where
    print(f"{2 * len(watched.calls)} crash points, {len(watched.points)} of them different")
    return expected


@pytest.mark.parametrize("name", STORIES)
async def test_a_crash_at_any_call_leads_to_the_same_end_and_a_delete_leaves_nothing(
    tmp_path: Path, name: str
):
    ended = await assert_same_end_whoever_dies(STORIES[name], tmp_path)
    assert "elsewhere" not in str(ended["settings"])
    assert "other:other" not in str(ended["credentials"])
    if name == "update":
        assert [scope for scope, _ in ended["assignments"]] == [UPDATED["target"]["id"]]
        assert all("spring" in key for [data] in [ended["settings"]] for key in data)
    if name == "delete that overtakes":
        assert ended["operations"] == [("create", "superseded"), ("delete", "succeeded")]
    if name == "restore":
        assert ended["objects"] == ["Secret", "ServiceAccount"]
