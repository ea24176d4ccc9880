"""Who can ask for tokens: the owner from the topology, identities from the Resource Manager emulator."""

from __future__ import annotations

import dataclasses
from typing import Any
from urllib.parse import quote

import aiohttp

from sandbox.topology import Topology


@dataclasses.dataclass(frozen=True, slots=True)
class Credential:
    """A federated credential as it counts for an exchange."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    created_at: float
    """Seconds since the epoch."""


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """A service principal of the tenant."""

    client_id: str
    principal_id: str
    resource_id: str
    credentials: tuple[Credential, ...]


class Principals:
    """Looks a client id up afresh each time: nothing is cached, deletion works at once."""

    def __init__(self, topology: Topology, session: aiohttp.ClientSession) -> None:
        self._topology = topology
        self._session = session

    async def find(self, client_id: str) -> Principal | None:
        """The identity of a client id, or nothing."""
        url = f"{self._topology.arm_url}/sandbox/principals/{quote(client_id, safe='')}"
        async with self._session.get(url) as answer:
            if answer.status == 404:
                return None
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
        credentials = tuple(
            Credential(
                one["issuer"], one["subject"], tuple(one["audiences"]), float(one.get("createdAt", 0.0))
            )
            for one in found["credentials"]
        )
        return Principal(found["clientId"], found["principalId"], found["resourceId"], credentials)
