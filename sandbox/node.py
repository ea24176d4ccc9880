"""What a kubelet does for one pod, with a process of this machine as the container.

It resolves the environment from real objects of the cluster, writes the projected token, runs the
command with exactly that environment (plus ``PATH`` and the CA), reports the phase and ends the
process when the pod is deleted.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.contract import Contract
from sandbox.pod_spec import EXCHANGE_AUDIENCE, TOKEN_FILE, Object, token_seconds

VARIABLE_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
DELETION_POLL_SECONDS = 0.5
NODE_NAME = "sandbox-node"
NOT_STARTED = 128
"""Exit code of a container that never ran, as kubelet reports it."""


@dataclasses.dataclass(frozen=True, slots=True)
class PodResult:
    """How a pod ended."""

    exit_code: int
    """The command's exit code; 128 if it could not be started; negative after a signal."""
    output: str
    """Standard output and standard error together, or why nothing was started."""


class ContainerConfigError(Exception):
    """Something the container needs is missing (kubelet's CreateContainerConfigError)."""


class Cluster:
    """The cluster's API, as its administrator."""

    def __init__(self, contract: Contract, session: aiohttp.ClientSession) -> None:
        self._server = contract.cluster_server
        self._headers = {"Authorization": f"Bearer {contract.kubernetes_admin_token}"}
        self._session = session

    async def call(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, Object]:
        """Send one request; returns the status and the object answered."""
        headers = {**self._headers, "Content-Type": content_type}
        url = f"{self._server}/api/v1/namespaces/{path}"
        async with self._session.request(method, url, json=body, headers=headers) as response:
            answer = await response.json(content_type=None)
            return response.status, answer if isinstance(answer, dict) else {}


class Node:
    """The kubelet's part for one pod."""

    def __init__(
        self,
        contract: Contract,
        cluster: Cluster,
        pod: Object,
        images: Mapping[str, Sequence[str]],
        folder: Path | None,
    ) -> None:
        self._contract = contract
        self._cluster = cluster
        self._pod = pod
        self._images = images
        self._folder = folder
        self._space: str = pod["metadata"]["namespace"]
        self._path = f"{self._space}/pods/{pod['metadata']['name']}"
        self._container: Object = pod["spec"]["containers"][0]

    async def run(self) -> PodResult:
        """Run the first container to its end and report the pod's phase."""
        volumes = Path(tempfile.mkdtemp(prefix="pod-", dir=self._contract.state_dir))
        try:
            try:
                environment = await self._environment(volumes)
                command = self._command(environment)
            except ContainerConfigError as error:
                waiting = {"reason": "CreateContainerConfigError", "message": str(error)}
                await self._report("Pending", {"waiting": waiting})
                return PodResult(NOT_STARTED, f"CreateContainerConfigError: {error}\n")
            return await self._run_command(command, environment)
        finally:
            shutil.rmtree(volumes, ignore_errors=True)

    async def _run_command(self, command: list[str], environment: dict[str, str]) -> PodResult:
        program = shutil.which(command[0], path=environment["PATH"]) or command[0]
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *command[1:],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                cwd=self._folder,
                start_new_session=True,
            )
        except OSError as error:
            terminated: Object = {"exitCode": NOT_STARTED, "reason": "StartError", "message": str(error)}
            await self._report("Failed", {"terminated": terminated})
            return PodResult(NOT_STARTED, f"StartError: {error}\n")
        await self._report("Running", {"running": {}})
        watching = asyncio.ensure_future(self._end_when_deleted(process))
        try:
            output, _ = await process.communicate()
        finally:
            watching.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        code = process.returncode if process.returncode is not None else NOT_STARTED
        phase, reason = ("Succeeded", "Completed") if code == 0 else ("Failed", "Error")
        await self._report(phase, {"terminated": {"exitCode": code, "reason": reason}})
        return PodResult(code, output.decode(errors="replace"))

    async def _end_when_deleted(self, process: asyncio.subprocess.Process) -> None:
        uid = self._pod["metadata"]["uid"]
        while True:
            await asyncio.sleep(DELETION_POLL_SECONDS)
            status, pod = await self._cluster.call("GET", self._path)
            metadata = pod.get("metadata") or {}
            if status == 404 or metadata.get("uid") != uid or metadata.get("deletionTimestamp"):
                process.terminate()
                return

    async def _report(self, phase: str, state: Object) -> None:
        """Write the pod's status; a pod that is gone needs none."""
        container = {
            "name": self._container["name"],
            "image": self._container.get("image", ""),
            "imageID": "",
            "ready": "running" in state,
            "restartCount": 0,
            "state": state,
        }
        body = {"status": {"phase": phase, "containerStatuses": [container]}}
        await self._cluster.call("PATCH", f"{self._path}/status", body, "application/merge-patch+json")

    def _command(self, environment: Mapping[str, str]) -> list[str]:
        command = list(self._container.get("command") or ())
        arguments = list(self._container.get("args") or ())
        image = self._container.get("image", "")
        if not command and image in self._images:
            command = list(self._images[image])
        if not command:
            raise ContainerConfigError(f"nothing says what image {image!r} runs")
        return [_expand(str(part), environment) for part in (*command, *arguments)]

    async def _environment(self, volumes: Path) -> dict[str, str]:
        environment: dict[str, str] = {}
        for source in self._container.get("envFrom") or []:
            environment.update(await self._from_source(source))
        for variable in self._container.get("env") or []:
            value = await self._value(variable, environment)
            if value is not None:
                environment[variable["name"]] = value
        seconds = token_seconds(self._pod)
        if seconds is not None:
            token_file = volumes / "azure-identity-token"
            await self._write_token(token_file, seconds)
            if environment.get("AZURE_FEDERATED_TOKEN_FILE") == TOKEN_FILE:
                environment["AZURE_FEDERATED_TOKEN_FILE"] = str(token_file)
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment["SSL_CERT_FILE"] = environment["REQUESTS_CA_BUNDLE"] = self._contract.ca_file
        return environment

    async def _from_source(self, source: Object) -> dict[str, str]:
        prefix = source.get("prefix", "")
        values: dict[str, str] = {}
        if reference := source.get("secretRef"):
            values = await self._secret(reference["name"], optional=bool(reference.get("optional"))) or {}
        elif reference := source.get("configMapRef"):
            values = await self._config_map(reference["name"], optional=bool(reference.get("optional"))) or {}
        named = {f"{prefix}{key}": value for key, value in values.items()}
        return {key: value for key, value in named.items() if VARIABLE_NAME.fullmatch(key)}

    async def _value(self, variable: Object, environment: Mapping[str, str]) -> str | None:
        source = variable.get("valueFrom")
        if not source:
            return _expand(str(variable.get("value") or ""), environment)
        reference = source.get("secretKeyRef") or source.get("configMapKeyRef")
        if reference:
            optional = bool(reference.get("optional"))
            read = self._secret if "secretKeyRef" in source else self._config_map
            values = await read(reference["name"], optional=optional)
            if values is None or reference["key"] not in values:
                if optional:
                    return None
                raise ContainerConfigError(
                    f"couldn't find key {reference['key']} in {self._space}/{reference['name']}",
                )
            return values[reference["key"]]
        field = (source.get("fieldRef") or {}).get("fieldPath", "")
        value: Any = self._pod
        for part in field.split(".") if field else ():
            value = value.get(part) if isinstance(value, dict) else None
        return str(value) if value is not None else ""

    async def _secret(self, name: str, *, optional: bool) -> dict[str, str] | None:
        data = await self._read("secrets", name, optional=optional)
        if data is None:
            return None
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    async def _config_map(self, name: str, *, optional: bool) -> dict[str, str] | None:
        return await self._read("configmaps", name, optional=optional)

    async def _read(self, plural: str, name: str, *, optional: bool) -> dict[str, str] | None:
        status, found = await self._cluster.call("GET", f"{self._space}/{plural}/{name}")
        if status == 404 and optional:
            return None
        if status != 200:
            raise ContainerConfigError(f'{plural.removesuffix("s")} "{name}" not found')
        return dict(found.get("data") or {})

    async def _write_token(self, file: Path, seconds: int) -> None:
        metadata = self._pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"audiences": [EXCHANGE_AUDIENCE], "expirationSeconds": seconds, "boundObjectRef": bound}
        account = self._pod["spec"]["serviceAccountName"]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        status, answer = await self._cluster.call(
            "POST", f"{self._space}/serviceaccounts/{account}/token", body
        )
        if status not in {200, 201}:
            raise ContainerConfigError(
                f"no token for service account {account}: {answer.get('message', status)}"
            )
        _write_private(file, answer["status"]["token"])


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _expand(text: str, environment: Mapping[str, str]) -> str:
    """Kubernetes' ``$(NAME)``; ``$$`` is a dollar, an unknown name stays as it stands."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else environment.get(name, match.group(0))

    return REFERENCE.sub(value, text)
