"""What a person types at the cluster: the real ``kubectl`` if there is one, else the Kubernetes client."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from sandbox.contract import Contract

CONNECTION_PREFIX = "sc-"
"""What every secret and service account of a connection begins with, Service Connector's and ours alike."""
GET_SECRETS = ("get", "secret", "-A")
GET_ACCOUNTS = ("get", "serviceaccount", "-A")


class KubectlFailedError(RuntimeError):
    """The command ended with an error; the message is what it said."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """One command and its output."""

    command: str
    lines: tuple[str, ...]

    @property
    def connection_objects(self) -> tuple[str, ...]:
        """``namespace/name`` of each listed object of a connection."""
        rows = [line.split() for line in self.lines[1:]]
        return tuple(
            f"{row[0]}/{row[1]}" for row in rows if len(row) > 1 and row[1].startswith(CONNECTION_PREFIX)
        )

    def abridged(self) -> list[str]:
        """The heading and the objects of connections, and how many others there are."""
        if not self.lines:
            return ["(nothing)"]
        heading, *rows = self.lines
        kept = [row for row in rows if row.split()[1:2] and row.split()[1].startswith(CONNECTION_PREFIX)]
        others = len(rows) - len(kept)
        if not kept:
            return [f"(none of a connection, {others} others)" if others else "(nothing)"]
        return [heading, *kept, *([f"(and {others} others)"] if others else [])]


class Kubectl(Protocol):
    """The three commands of the story."""

    name: str
    """What does the work."""

    async def secrets(self) -> Shown:
        """List the secrets of all namespaces."""
        ...

    async def accounts(self) -> Shown:
        """List the service accounts of all namespaces."""
        ...

    async def delete_pod(self, namespace: str, name: str) -> Shown:
        """Delete a pod now."""
        ...


def kubectl_of(contract: Contract) -> Kubectl:
    """The real one if it is on ``PATH``."""
    program = shutil.which("kubectl")
    return RealKubectl(program, contract) if program else ClientInstead(contract)


class RealKubectl:
    """The program.

    Args:
        program: Its path.
        contract: The sandbox whose kubeconfig it uses.
    """

    name = "kubectl"

    def __init__(self, program: str, contract: Contract) -> None:
        self._program = program
        self._cache = str(Path(contract.state_dir) / "kubectl-cache")
        self._environment = {**os.environ, "KUBECONFIG": contract.kubeconfig}

    async def secrets(self) -> Shown:
        return await self._run(GET_SECRETS)

    async def accounts(self) -> Shown:
        return await self._run(GET_ACCOUNTS)

    async def delete_pod(self, namespace: str, name: str) -> Shown:
        return await self._run(("delete", "pod", name, "-n", namespace, "--grace-period=0", "--force"))

    async def _run(self, arguments: Sequence[str]) -> Shown:
        process = await asyncio.create_subprocess_exec(
            self._program,
            "--cache-dir",
            self._cache,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        output, problems = await process.communicate()
        command = f"kubectl {' '.join(arguments)}"
        if process.returncode:
            raise KubectlFailedError(f"{command}: {problems.decode(errors='replace').strip()}")
        return Shown(command, tuple(output.decode().splitlines()))


class ClientInstead:
    """The same three through the Kubernetes client, for machines without ``kubectl``.

    Args:
        contract: The sandbox whose kubeconfig it uses.
    """

    name = "the Kubernetes client for Python"

    def __init__(self, contract: Contract) -> None:
        self._kubeconfig = contract.kubeconfig

    @functools.cached_property
    def _core(self) -> Any:
        from kubernetes import client, config

        connect: Any = config.new_client_from_config  # the client is untyped
        return client.CoreV1Api(connect(self._kubeconfig))

    async def secrets(self) -> Shown:
        found = await asyncio.to_thread(self._core.list_secret_for_all_namespaces)
        rows = [
            (one.metadata.namespace, one.metadata.name, one.type, str(len(one.data or {})))
            for one in found.items
        ]
        command = "list_secret_for_all_namespaces()"
        return Shown(command, _columns([("NAMESPACE", "NAME", "TYPE", "DATA"), *rows]))

    async def accounts(self) -> Shown:
        found = await asyncio.to_thread(self._core.list_service_account_for_all_namespaces)
        rows = [(one.metadata.namespace, one.metadata.name) for one in found.items]
        command = "list_service_account_for_all_namespaces()"
        return Shown(command, _columns([("NAMESPACE", "NAME"), *rows]))

    async def delete_pod(self, namespace: str, name: str) -> Shown:
        await asyncio.to_thread(
            lambda: self._core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)
        )
        return Shown(f"delete_namespaced_pod({name!r}, {namespace!r})", (f'pod "{name}" deleted',))


def _columns(rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    if len(rows) == 1:
        return ()
    widths = [max(len(row[index]) for row in rows) + 3 for index in range(len(rows[0]))]
    return tuple(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
