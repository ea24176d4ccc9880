"""The program's side: pods of ``examples/pod.yaml`` that use a connection, run as their node would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.contract import Contract
from sandbox.demo.examples import EXAMPLES, Object, example_pod, filled_pod
from sandbox.demo.stage import Stage
from sandbox.node import Cluster, PodResult
from sandbox.pod import run_pod

WAITING_PROGRAM = "until [ -e '{signal}' ]; do sleep 0.1; done; exec python program.py"


class Pods:
    """Pods of the story.

    Args:
        contract: The sandbox.
        session: A session that trusts its CA.
    """

    def __init__(self, contract: Contract, session: aiohttp.ClientSession) -> None:
        self._contract = contract
        self._session = session
        self._running: list[asyncio.Task[PodResult]] = []

    async def run(self, snippet: str, *, name: str) -> PodResult:
        """Run the example's program once in a pod that uses a connection.

        Args:
            snippet: What the API's manifest says of the connection.
            name: Name of the pod; it is deleted afterwards.

        Raises:
            PodRefusedError: The cluster does not take the pod.
        """
        pod = filled_pod(example_pod(), snippet, name=name)
        return await run_pod(self._contract, pod, folder=EXAMPLES, once=True)

    def run_later(self, snippet: str, *, name: str) -> tuple[Path, asyncio.Task[PodResult]]:
        """Start a pod now whose program begins when a file appears.

        Returns:
            The file, and the run.
        """
        signal = Path(self._contract.state_dir) / f"{name}-may-go"
        pod = filled_pod(example_pod(), snippet, name=name)
        pod["spec"]["containers"][0]["command"] = ["sh", "-c", WAITING_PROGRAM.format(signal=signal)]
        return signal, self._keep(run_pod(self._contract, pod, folder=EXAMPLES, once=True))

    def run_on(self, *, namespace: str, name: str, account: str, secret: str) -> asyncio.Task[PodResult]:
        """Start a pod that uses a service account and a secret until it is deleted."""
        pod: Object = example_pod()
        pod["metadata"] |= {"name": name, "namespace": namespace}
        pod["spec"]["serviceAccountName"] = account
        container = pod["spec"]["containers"][0]
        container["command"] = ["sleep", "3600"]
        container["envFrom"] = [{"secretRef": {"name": secret}}]
        return self._keep(run_pod(self._contract, pod, folder=EXAMPLES))

    async def until_running(self, stage: Stage, namespace: str, name: str) -> None:
        """Wait until the cluster says that a pod runs."""
        cluster = Cluster(self._contract, self._session)

        async def look() -> str | None:
            _, pod = await cluster.call("GET", f"{namespace}/pods/{name}")
            status = pod.get("status")
            phase = status.get("phase") if isinstance(status, dict) else None  # an absent pod's is a word
            return str(phase) if phase == "Running" else None

        await stage.until(f"pod {namespace}/{name} runs", look)

    def _keep(self, work: Coroutine[Any, Any, PodResult]) -> asyncio.Task[PodResult]:
        task = asyncio.ensure_future(work)
        self._running.append(task)
        return task

    async def stop(self) -> None:
        """End every program that still runs."""
        for task in self._running:
            task.cancel()
        for task in self._running:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
