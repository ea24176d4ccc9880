"""The product's own rows, read beside the product: which runs a killed host left behind, and what is open."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Self

from azure.data.tables.aio import TableServiceClient

from sandbox.contract import Contract
from tests.e2e.chaos import insisting
from tests.e2e.world import Json

POLL_SECONDS = 0.3
STEP_BARS = 2
"""A step's row key is ``op|OPERATION|STEP``."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A run that died with its host."""

    operation_id: str
    step: str
    killed_at: float
    taken_at: float
    """When the next run of the same step was seen."""


@dataclasses.dataclass(slots=True)
class Rows:
    """Tables ``connections`` and ``openoperations``."""

    service: TableServiceClient
    orphans: list[Orphan] = dataclasses.field(default_factory=list)
    most_open: int = 0
    open_at_kills: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    """Each kill's time with each operation that was open then."""
    lost: list[str] = dataclasses.field(default_factory=list)
    """Runs that died and were not taken up again while their operation was open."""
    _followed: set[str] = dataclasses.field(default_factory=set)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, contract: Contract) -> AsyncIterator[Self]:
        service = TableServiceClient.from_connection_string(
            contract.azurite_connection_string, connection_verify=contract.ca_file
        )
        async with service:
            yield cls(service)

    async def steps(self) -> dict[tuple[str, str], Json]:
        """Every step's row by its keys."""
        found = await self._query("connections")
        return {key: body for key, body in found.items() if key[1].count("|") == STEP_BARS}

    async def ended(self) -> dict[str, str]:
        """When each operation ended."""
        found = await self._query("connections")
        own = {key[1].removeprefix("op|"): body for key, body in found.items() if key[1].startswith("op|")}
        return {name: body["ended_at"] for name, body in own.items() if "|" not in name}

    async def noted(self) -> set[str]:
        """What the timer looks at: noted before it is opened, so that some of it never was."""
        return {key for _, key in await self._query("openoperations", bodies=False)}

    async def open_operations(self) -> list[str]:
        """Operations that the timer looks at, without those that lost a race and never came to be.

        The timer strikes those off after two minutes, which is longer than a test should take.
        """
        noted = await self.noted()
        return sorted(noted & set(await self.ended())) if noted else []

    async def watch(self) -> None:
        """Keep an eye on how many operations are open, for as long as this runs."""
        while True:
            self.most_open = max(self.most_open, len(await self.noted()))
            await asyncio.sleep(1)

    async def note_kill(self, killed_at: float, *, patience: float) -> None:
        """A host has just been killed: follow its runs until each is taken up again.

        A live host's run ends its turn; a dead one's is claimed anew, in the same turn, at a later time.
        """
        left = {
            key: body
            for key, body in (await self.steps()).items()
            if body["state"] == "running" and body["holder"] not in self._followed
        }
        self._followed |= {body["holder"] for body in left.values()}
        open_now = await self.open_operations()
        self.open_at_kills += [(killed_at, operation_id) for operation_id in open_now]
        end = time.time() + patience
        while left and time.time() < end:
            await asyncio.sleep(POLL_SECONDS)
            for key, before in list(left.items()):
                now = await self._body(*key)
                if now is not None and now["holder"] == before["holder"]:
                    if await self._ended(*key):
                        del left[key]
                    continue
                del left[key]
                if now is None or now["turn"] != before["turn"] or now["started_at"] == before["started_at"]:
                    continue
                self.orphans.append(
                    Orphan(
                        operation_id=before["operation_id"],
                        step=before["name"],
                        killed_at=killed_at,
                        taken_at=time.time(),
                    ),
                )
        self.lost += [f"{before['operation_id']} {before['name']}" for before in left.values()]

    async def _ended(self, partition: str, key: str) -> bool:
        """Overtaken meanwhile: nobody goes on with it."""
        operation = await self._body(partition, key.rpartition("|")[0])
        return operation is None or operation["ended_at"] is not None

    async def _body(self, partition: str, key: str) -> Json | None:
        table = self.service.get_table_client("connections")

        async def get() -> list[Json]:
            found = table.query_entities(f"PartitionKey eq '{partition}' and RowKey eq '{key}'")
            return [json.loads(one["body"]) async for one in found]

        found = await insisting(get)
        return found[0] if found else None

    async def _query(self, name: str, *, bodies: bool = True) -> dict[tuple[str, str], Json]:
        table = self.service.get_table_client(name)

        async def get() -> dict[tuple[str, str], Any]:
            rows = [one async for one in table.list_entities()]
            return {
                (one["PartitionKey"], one["RowKey"]): json.loads(one["body"]) if bodies else {}
                for one in rows
            }

        return await insisting(get)
