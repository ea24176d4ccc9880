"""A crash before or after every single call of a port: the end is the same, and a delete leaves nothing.

A crash is the death of the host: it passes through the engine as no error does, and until the process is
"restarted" every further call fails too, so that no ``finally`` tidies up what a dead host could not.
"""

import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from handlers import timers
from shared import naming
from shared.models import StepMessage
from shared.state import State
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
EMPTY = {"identities": [], "assignments": [], "objects": [], "users": []}
SETTING = "AZURE_STORAGEBLOB_RESOURCEENDPOINT"
UPDATED: dict[str, Any] = {
    "clientType": "springBoot",
    "intent": "read",
    "target": {"type": "storage-blob", "id": f"{STORAGE}/blobServices/default/containers/orders"},
}
"""Another role on another scope, and other keys."""
REDELIVERED_SECONDS = 10.0
"""host.json's visibilityTimeout: a message whose run died comes back after so long."""


class Crash(BaseException):
    """The host dies."""


@dataclasses.dataclass(slots=True)
class Host:
    """Delivers messages until each is acknowledged; dies once, at one call."""

    app: LocalApp
    dies_at: int
    after: bool
    dead: bool = False
    died: bool = False

    def arm(self) -> None:
        self.dies_at += len(self.app.journal.calls)

        def before(call: Call) -> BaseException | None:
            if not self.dead and not self.after and not self.died and call.number == self.dies_at:
                self.dead = self.died = True
            return Crash() if self.dead else None

        def after(call: Call) -> BaseException | None:
            if not self.dead and self.after and not self.died and call.number == self.dies_at:
                self.dead = self.died = True
            return Crash() if self.dead else None

        self.app.journal.before, self.app.journal.after = before, after

    async def survives(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Run a function; after a crash, restart and say that its message was not acknowledged."""
        try:
            await work()
        except Crash:
            self.dead = False
            return False
        return True

    async def pump(self) -> int:
        handled = 0
        for queue, deliver in (
            ("connection-requests", self._request),
            ("connection-steps", self._step),
            ("resource-events", self._event),
        ):
            for text in self.app.queue.take(queue):
                handled += 1
                if not await self.survives(lambda text=text, deliver=deliver: deliver(text)):
                    self.app.queue.put(queue, text, REDELIVERED_SECONDS)
        return handled

    async def settle(self, seconds: float = 1500) -> None:
        """Pump, and let the timer tick each minute, until nothing is open and nothing is queued."""
        for _ in range(int(seconds // 30)):
            while await self.pump():
                pass
            self.app.clock.advance(30)
            await self.survives(lambda: timers.announce_again(self.app.services))
            if self.app.queue.next_due() is None and not self.app.store.rows("openoperations"):
                return
        raise AssertionError("never settled")

    async def _request(self, text: str) -> None:
        message_id = json.loads(text)["requestId"]
        await self.app.services.intake.receive(text, message_id=message_id, source="queue")

    async def _step(self, text: str) -> None:
        await self.app.services.engine.run_one(StepMessage.model_validate_json(text))

    async def _event(self, text: str) -> None:
        await self.app.services.events.receive(text)


def ask(app: LocalApp, body: dict[str, Any], key: str) -> None:
    app.queue.put("connection-requests", json.dumps({**body, "requestId": key}))


async def prepared(folder: Path, plan: str, dies_at: int, *, after: bool) -> Host:
    """An app with everything that stands before the plan, and the plan's message in its queue."""
    app = make_app(folder, MOORING_PRUNE_GRACE_SECONDS="0", MOORING_PROVE="on")
    host = Host(app, dies_at, after)
    if plan != "create":
        ask(app, create_body(), "before")
        await host.settle()
    host.arm()
    if plan == "create":
        ask(app, create_body(), "the-create")
    elif plan == "delete":
        ask(app, delete_body(), "the-delete")
    elif plan == "update":
        container = UPDATED["target"]["id"]
        app.world.add_resource(container)
        facts = {"endpoint": "https://orders.blob.core.windows.net/", "container": "orders"}
        read = app.services.catalogue.find("storage-blob").read(container, facts, intent="read")
        assert read is not None
        app.world.data_planes[read.url] = container
        ask(app, {**create_body(**UPDATED), "action": "update"}, "the-update")
    elif plan == "repair":
        edit_by_hand(app)
        ask(app, {**delete_body(), "action": "repair"}, "the-repair")
    else:
        app.world.remove(STORAGE)
        app.queue.put("resource-events", deletion_event(STORAGE))
    return host


def edit_by_hand(app: LocalApp) -> None:
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


def end_state(app: LocalApp) -> dict[str, Any]:
    """What exists, without what differs from run to run (generated ids)."""
    left = app.leftovers()
    return {
        "identities": left["identities"],
        "assignments": sorted((one.scope, one.role_definition_id) for one in app.world.assignments.values()),
        "credentials": [one.subject for found in app.world.credentials.values() for one in found.values()],
        "settings": [
            one.data
            for cluster in app.world.clusters.values()
            for key, one in cluster.objects.items()
            if key[0] == "Secret"
        ],
        "objects": sorted(one.partition(" ")[0] for one in left["objects"]),
        "users": len(left["users"]),
        "open": app.store.rows("openoperations"),
    }


async def run_to_its_end(host: Host) -> dict[str, Any]:
    await host.settle()
    state = State(host.app.store)
    stored = await state.connection(ID)
    assert stored is not None
    operations = await state.operations(ID)
    return {
        **end_state(host.app),
        "state": stored.value.state.value,
        "generation": stored.value.generation,
        "active": stored.value.active,
        "operations": [(one.kind.value, one.state.value) for one in operations],
    }


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("plan", ["create", "delete", "prune", "repair", "update"])
async def test_a_crash_at_any_call_leads_to_the_same_end_and_a_delete_leaves_nothing(
    tmp_path: Path, plan: str, after: bool
):
    quiet = await prepared(tmp_path, plan, 0, after=after)
    start = len(quiet.app.journal.calls)
    expected = await run_to_its_end(quiet)
    ends = {
        "create": "usable",
        "delete": "deleted",
        "prune": "pruned",
        "repair": "usable",
        "update": "usable",
    }
    assert expected["state"] == ends[plan]
    assert "elsewhere" not in str(expected["settings"])
    if plan == "update":
        assert [scope for scope, _ in expected["assignments"]] == [UPDATED["target"]["id"]]
        assert all("spring" in key for [data] in [expected["settings"]] for key in data)
    assert "other:other" not in str(expected["credentials"])
    calls = quiet.app.journal.names()[start:]
    assert len(calls) > 60
    for number in range(1, len(calls) + 1):
        host = await prepared(tmp_path, plan, number, after=after)
        where = f"{'after' if after else 'before'} call {number}, {calls[number - 1]}"
        ended = await run_to_its_end(host)
        assert host.died, where
        assert ended == expected, where
        ask(host.app, delete_body(), "the-last")
        await host.settle()
        assert host.app.leftovers() == EMPTY, where
        assert not any(host.app.world.credentials.values()), where
        assert await host.app.services.state.intents(ID) == {}, where
