"""Every point of a story at which a host may die, and what becomes of it with another host.

The quiet run is watched: before and after each call of a port everything that outlives a host is kept (Azure,
clusters, tables, queues, the clock), with the messages that the host has in hand. A host that dies leaves
just that, so points of one delivery with nothing changed between them are one, and a new host goes on there.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from shared import naming
from shared.models import ConnectionId
from tests.fakes.crash_host import REDELIVERED_SECONDS, Host, ask
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, LocalApp, delete_body, make_app

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


async def nothing(_: Host) -> None:
    """Nothing is to be made before, or said after."""


async def deleted(host: Host) -> None:
    """What a person does who wants nothing to be left."""
    ask(host.app, delete_body(), "the-last")
    await host.settle()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One operation, from what stands before it to its end."""

    begins: Callable[[LocalApp], None]
    """Puts the message with which it begins, and does what that tells of."""
    ends: str
    """State of the connection."""
    before: Callable[[Host], Awaitable[None]] = nothing
    called: Callable[[LocalApp], Awaitable[object]] | None = None
    last: Callable[[Host], Awaitable[None]] = deleted
    """What is done after its end, so that nothing of ours may be left."""
    connection_id: ConnectionId = ID
    left: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)
    """What is left at last and is not ours."""

    def host(self, folder: Path) -> Host:
        app = make_app(folder, MOORING_PRUNE_GRACE_SECONDS="0", MOORING_PROVE="on")
        return Host(app, called=self.called)


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """A place in the quiet run."""

    where: str
    kept: bytes
    """What outlives the host."""
    in_hand: tuple[tuple[str, str], ...]

    def resume(self, story: Story, folder: Path) -> Host:
        """A new host, after the one that died here."""
        host = story.host(folder)
        _put_back(host.app, self.kept)
        host.in_hand = list(self.in_hand)
        if host.in_hand:
            # What it was handling comes back later; the others are handed out again at once.
            host.app.queue.put(*host.in_hand.pop(0), REDELIVERED_SECONDS)
        return host


@dataclasses.dataclass(slots=True)
class Watched:
    """The quiet run."""

    host: Host
    calls: list[str] = dataclasses.field(default_factory=list)
    points: dict[tuple[int, bytes], Point] = dataclasses.field(default_factory=dict)

    def watch(self) -> None:
        self.host.app.journal.before, self.host.app.journal.after = self._before, self._after

    def _before(self, call: Call) -> None:
        self.calls.append(call.name)
        self._note("before", call)

    def _after(self, call: Call) -> None:
        self._note("after", call)

    def _note(self, side: str, call: Call) -> None:
        kept = _kept(self.host.app)
        where = f"{side} call {len(self.calls)}, {call.name}"
        key = (self.host.deliveries, kept)
        self.points.setdefault(key, Point(where, kept, tuple(self.host.in_hand)))


async def quiet(story: Story, folder: Path) -> Watched:
    """A run in which nobody dies, up to the end of the story."""
    host = story.host(folder)
    await story.before(host)
    story.begins(host.app)
    watched = Watched(host)
    watched.watch()
    await host.settle()
    host.app.journal.before = host.app.journal.after = None
    return watched


async def end_of(story: Story, host: Host) -> dict[str, Any]:
    """What exists, without what differs from run to run (generated ids), and what is on record."""
    app, world = host.app, host.app.world
    stored = await app.services.state.connection(story.connection_id)
    assert stored is not None
    left = app.leftovers()
    operations = await app.operations(story.connection_id)
    return {
        "identities": left["identities"],
        "assignments": sorted((one.scope, one.role_definition_id) for one in world.assignments.values()),
        "credentials": [one.subject for found in world.credentials.values() for one in found.values()],
        "settings": [
            one.data
            for cluster in world.clusters.values()
            for key, one in cluster.objects.items()
            if key[0] == "Secret"
        ],
        "objects": sorted(one.partition(" ")[0] for one in left["objects"]),
        "users": len(left["users"]),
        "open": app.store.rows("openoperations"),
        "state": stored.value.state.value,
        "generation": stored.value.generation,
        "active": stored.value.active,
        "operations": [(one.kind.value, one.state.value) for one in operations],
    }


def _kept(app: LocalApp) -> bytes:
    store, queue = app.store, app.queue
    return pickle.dumps(
        (
            vars(app.world),
            (store._tables, store._etags),
            (queue._queues, queue._count),
            app.topic.events,
            app.clock.now(),
            app.policy_file.read_text(),
        )
    )


def _put_back(app: LocalApp, kept: bytes) -> None:
    world, store, queue, app.topic.events, now, policy = pickle.loads(kept)  # noqa: S301 - our own
    vars(app.world).update(world)
    app.store._tables, app.store._etags = store
    app.queue._queues, app.queue._count = queue
    app.clock._now = now
    app.policy_file.write_text(policy)
