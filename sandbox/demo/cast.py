"""Everybody on stage, and the two things that all acts do: follow an operation, look into the cluster."""

from __future__ import annotations

import contextlib
import dataclasses
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from azure.identity.aio import ClientSecretCredential

from sandbox.contract import Contract
from sandbox.demo.azure import Azure
from sandbox.demo.kubectl import Kubectl, kubectl_of
from sandbox.demo.mooring import FINAL, Mooring
from sandbox.demo.pods import Pods
from sandbox.demo.stage import NotAsToldError, Stage
from sandbox.topology import Topology

Object = dict[str, Any]

STEP_WORDS = {"apply": "done", "revert": "removed", "check": "checked"}
ENDED_STEPS = {"done", "failed"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everybody on stage."""

    contract: Contract
    stage: Stage
    mooring: Mooring
    azure: Azure
    kubectl: Kubectl
    pods: Pods

    @classmethod
    @contextlib.asynccontextmanager
    async def gather(cls, contract: Contract, stage: Stage, *, patience: float) -> AsyncIterator[Cast]:
        """Bring everybody together, and home at the end."""
        tls = ssl.create_default_context(cafile=contract.ca_file)
        credential = ClientSecretCredential(
            contract.tenant_id,
            contract.owner_client_id,
            contract.owner_client_secret,
            authority=contract.entra_url,
            disable_instance_discovery=True,
            connection_verify=contract.ca_file,
        )
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session, credential:
            pods = Pods(contract, session)
            mooring = Mooring(contract, session, credential)
            topology = Topology.load(Path(contract.topology_file))
            try:
                yield cls(
                    contract=contract,
                    stage=stage,
                    mooring=mooring,
                    azure=Azure(contract, topology, session, credential, patience=patience),
                    kubectl=kubectl_of(contract),
                    pods=pods,
                )
            finally:
                await pods.stop()
                await mooring.close()

    async def follow_request(self, request_id: str, what: str) -> Object:
        """Follow the operation of a request to its good end, showing its steps as they end."""
        return await self._follow(what, lambda: self.mooring.operation_of_request(request_id))

    async def follow(self, operation_id: str, what: str, *, shown: Collection[str] = ()) -> Object:
        """Follow an operation to its good end; ``shown`` are steps that the audience has seen end."""
        return await self._follow(what, lambda: self.mooring.operation(operation_id), shown=shown)

    async def _follow(
        self, what: str, look: Callable[[], Awaitable[Object | None]], *, shown: Collection[str] = ()
    ) -> Object:
        seen: Object = {}
        known = set(shown)

        async def step() -> Object | None:
            found = await look()
            if found is None:
                return None
            seen.update(found)
            self.show_steps(found, known)
            return found if found["state"] in FINAL else None

        operation = await self.stage.until(what, step, last_seen=lambda: brief(seen))
        if operation["state"] != "succeeded":
            raise NotAsToldError(what, brief(operation))
        return operation

    async def until_held(
        self, connection_id: str, reason: str, what: str, shown: set[str], *, briefly: bool = False
    ) -> Object:
        """Wait until a connection's prune is held for a reason, showing its steps as they end.

        One that is held only ``briefly`` may be over before a slow machine has looked: then it is returned as
        ended, and its record has to tell.
        """
        seen: Object = {}

        async def look() -> Object | None:
            found = (
                await self.mooring.operation(seen["id"])
                if seen
                else await self.mooring.open_prune(connection_id)
            )
            if found is None:
                return None
            seen.update(found)
            self.show_steps(found, shown)
            if briefly and found["state"] == "succeeded":
                return found
            if found["state"] in FINAL:
                raise NotAsToldError(what, f"{brief(found)}, without having been held for {reason}")
            held = found["state"] == "held" and found["waiting"] == reason
            return found if held else None

        return await self.stage.until(what, look, last_seen=lambda: brief(seen))

    def show_steps(self, operation: Object, shown: set[str]) -> None:
        """Show the steps that have ended and were not shown."""
        for step in operation.get("steps", ()):
            if step["name"] not in shown and step["state"] in ENDED_STEPS:
                shown.add(step["name"])
                word, note = outcome_of(step)
                self.stage.step(step["name"], word, seconds_between(step["startedAt"], step["endedAt"]), note)

    async def show_cluster(self) -> tuple[str, ...]:
        """Show secrets and service accounts as a person would look at them.

        Returns:
            ``namespace/name`` of each object of a connection, secrets first.
        """
        found: list[str] = []
        for listing in (self.kubectl.secrets, self.kubectl.accounts):
            shown = await listing()
            self.stage.command(shown.command, shown.abridged())
            found += shown.connection_objects
        return tuple(found)


def objects_of(connection: Object) -> tuple[str, ...]:
    """``namespace/name`` of a connection's secret and service account."""
    kubernetes = connection["kubernetes"]
    return tuple(f"{connection['namespace']}/{kubernetes[name]}" for name in ("secret", "serviceAccount"))


def outcome_of(step: Object) -> tuple[str, str]:
    """What became of a step, in a word, and why if it kept or found something."""
    if step["state"] != "done":
        return "failed", str(step.get("code") or "")
    outputs = step["outputs"]
    kept = outputs.get("kept") or ()
    if kept and not outputs.get("removed"):
        return "kept", ", ".join(sorted({str(one.get("detail") or one["rule"]) for one in kept}))
    return STEP_WORDS[step["direction"]], "already gone" if outputs.get("already") else ""


def brief(operation: Object) -> str:
    """An operation in one line."""
    if not operation:
        return "no operation"
    parts = [f"{operation.get('kind')} is {operation.get('state')}"]
    parts += [f"{name} {operation[name]}" for name in ("waiting", "code", "detail") if operation.get(name)]
    return ", ".join(parts)


def seconds_between(start: str | None, end: str | None) -> float:
    """Seconds between two instants of the API; 0 where one is missing."""
    if not start or not end:
        return 0.0
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def event_to_end_seconds(operation: Object) -> float:
    """Seconds from the event that opened a prune, by its own time stamp, to the prune's end."""
    cause = operation.get("cause") or {}
    happened = cause.get("eventTime") or cause.get("event_time") or operation.get("openedAt")
    return seconds_between(happened, operation.get("endedAt"))
