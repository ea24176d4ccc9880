"""What every provider of the emulator shares: one object, made once per process."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import aiohttp

from sandbox.arm.access import Access
from sandbox.arm.directory import Directory
from sandbox.arm.events import EventPublisher
from sandbox.arm.operations import Operations
from sandbox.arm.store import Store
from sandbox.arm.throttle import Throttle
from sandbox.topology import Topology


@dataclasses.dataclass(slots=True)
class World:
    """The emulated subscription and the services around it."""

    topology: Topology
    store: Store
    access: Access
    directory: Directory
    operations: Operations
    throttle: Throttle
    events: EventPublisher
    page_size: int = 1000
    """Rows of one page of a list; Azure's own sizes are its own business, so a test may make it small."""
    session: aiohttp.ClientSession | None = None
    """Client for the other emulators; made when the application starts."""

    @property
    def http(self) -> aiohttp.ClientSession:
        """The started client session."""
        if self.session is None:
            raise RuntimeError("the emulator has not started")
        return self.session


def make_world(topology: Topology) -> World:
    """Load the world from ``state_dir`` or begin an empty one."""
    store = Store(Path(topology.state_dir) / "arm.json")
    return World(
        topology=topology,
        store=store,
        access=Access(store),
        directory=Directory(store, topology),
        operations=Operations(store, topology.arm_url),
        throttle=Throttle(),
        events=EventPublisher(topology, store),
    )
