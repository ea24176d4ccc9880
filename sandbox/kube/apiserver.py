"""One real cluster control plane on loopback: etcd, kube-apiserver, kube-controller-manager.

The binaries come from a folder in envtest's convention. Flags: kube-apiserver's reference; each one
is needed (without ``--bind-address`` the server would listen on every interface).
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
from cryptography.hazmat.primitives import serialization

from sandbox.kube.authentication import AKS_SERVER_APPLICATION
from sandbox.kube.tokens import CLUSTER_AUDIENCE, new_signing_key
from sandbox.topology import Topology

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.05
_CONTROLLERS = "namespace,serviceaccount,serviceaccount-token,garbagecollector,root-ca-cert-publisher"
_DIE_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""


class ApiServer:
    """A control plane in a folder of its own; stopping and starting keeps its data.

    Args:
        topology: Certificates, the administrator's token and Entra's address.
        folder: Keys, logs and etcd's data.
    """

    def __init__(self, topology: Topology, folder: Path) -> None:
        self._topology = topology
        self._folder = folder
        self._assets = Path(topology.kubebuilder_assets)
        self._processes: list[tuple[str, asyncio.subprocess.Process]] = []
        ports_file = folder / "ports.json"
        if not ports_file.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            ports_file.write_text(json.dumps(_free_ports(3)))
        self._etcd_port, self._peer_port, self._port = json.loads(ports_file.read_text())

    @property
    def url(self) -> str:
        """Root of the API."""
        return f"https://{HOST}:{self._port}"

    @property
    def issuer(self) -> str:
        """Issuer of the service-account tokens; its documents need no token here."""
        return f"{self.url}/"

    async def start(self) -> None:
        """Start everything and wait until the ``default`` service account is there.

        Raises:
            RuntimeError: A process ended, or the server did not become ready in time.
        """
        self._write_files()
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._spawn("etcd", self._etcd_flags())
                await self._spawn("kube-apiserver", self._apiserver_flags())
                await self._wait_for("/api/v1/namespaces/default")
                await self._publish_issuer()
                if (self._assets / "kube-controller-manager").exists():
                    await self._spawn("kube-controller-manager", self._controller_flags())
                    await self._wait_for("/api/v1/namespaces/default/serviceaccounts/default")
        except TimeoutError:
            await self.stop()
            raise RuntimeError(f"kube-apiserver was not ready after {START_SECONDS} s") from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the processes that ``start`` started; etcd last, so that nothing is lost."""
        for _, process in reversed(self._processes):
            if process.returncode is None:
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                # kube-apiserver waits up to a minute for open watches.
                process.kill()
                await process.wait()
        self._processes.clear()

    def _write_files(self) -> None:
        key_file = self._folder / "sa.key"
        if not key_file.exists():
            pem = new_signing_key().encode()
            key_file.touch(mode=0o600)
            key_file.write_bytes(pem)
            public = serialization.load_pem_private_key(pem, password=None).public_key()
            encoded = public.public_bytes(
                serialization.Encoding.PEM,
                serialization.PublicFormat.SubjectPublicKeyInfo,
            )
            (self._folder / "sa.pub").write_bytes(encoded)
        token = self._topology.kubernetes_admin_token
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [
                {
                    "name": "c",
                    "cluster": {"server": self.url, "certificate-authority": self._topology.ca_file},
                },
            ],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "admin"}}],
        }
        for name, text in (
            ("tokens.csv", f'{token},admin,admin,"system:masters"\n'),
            ("controllers.kubeconfig", json.dumps(config)),
        ):
            (self._folder / name).touch(mode=0o600)
            (self._folder / name).write_text(text)

    def _etcd_flags(self) -> list[str]:
        client, peer = f"http://{HOST}:{self._etcd_port}", f"http://{HOST}:{self._peer_port}"
        return [
            "--name=sandbox",
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=sandbox={peer}",
            "--unsafe-no-fsync",
            "--logger=zap",
            "--log-level=warn",
        ]

    def _apiserver_flags(self) -> list[str]:
        topology = self._topology
        return [
            f"--etcd-servers=http://{HOST}:{self._etcd_port}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            f"--secure-port={self._port}",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--tls-cert-file={topology.cert_file}",
            f"--tls-private-key-file={topology.key_file}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            f"--oidc-issuer-url={topology.entra_url}/{topology.tenant_id}/",
            f"--oidc-client-id={AKS_SERVER_APPLICATION}",
            "--oidc-username-claim=oid",
            "--oidc-username-prefix=-",
            f"--oidc-ca-file={topology.ca_file}",
            f"--service-account-issuer={self.issuer}",
            f"--service-account-jwks-uri={self.issuer}openid/v1/jwks",
            f"--service-account-key-file={self._folder / 'sa.pub'}",
            f"--service-account-signing-key-file={self._folder / 'sa.key'}",
            f"--api-audiences={CLUSTER_AUDIENCE},{self.issuer}",
        ]

    def _controller_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self._folder / 'controllers.kubeconfig'}",
            "--leader-elect=false",
            f"--controllers={_CONTROLLERS}",
            f"--service-account-private-key-file={self._folder / 'sa.key'}",
            f"--root-ca-file={self._topology.ca_file}",
            f"--bind-address={HOST}",
            "--secure-port=0",
            "--port=0",
        ]

    async def _spawn(self, name: str, flags: list[str]) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        with (self._folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                str(self._assets / name),
                *flags,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=environment,
                preexec_fn=_die_with_parent(),
            )
        self._processes.append((name, process))

    async def _wait_for(self, path: str) -> None:
        headers = {"Authorization": f"Bearer {self._topology.kubernetes_admin_token}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            while True:
                for name, process in self._processes:
                    if process.returncode is not None:
                        log = self._folder / f"{name}.log"
                        raise RuntimeError(f"{name} ended with {process.returncode}, see {log}")
                try:
                    async with session.get(self.url + path, ssl=self._tls()) as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(POLL_SECONDS)

    async def _publish_issuer(self) -> None:
        """Let the issuer's documents be read without a token, as AKS's public issuer is."""
        group = "rbac.authorization.k8s.io"
        binding = {
            "metadata": {"name": "public-issuer-discovery"},
            "roleRef": {
                "apiGroup": group,
                "kind": "ClusterRole",
                "name": "system:service-account-issuer-discovery",
            },
            "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:unauthenticated"}],
        }
        headers = {"Authorization": f"Bearer {self._topology.kubernetes_admin_token}"}
        url = f"{self.url}/apis/{group}/v1/clusterrolebindings"
        async with aiohttp.ClientSession(headers=headers) as session:
            while True:
                async with session.post(url, json=binding, ssl=self._tls()) as response:
                    if response.status in {201, 409}:
                        return
                await asyncio.sleep(POLL_SECONDS)

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._topology.ca_file)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_DIE_WITH_PARENT, signal.SIGTERM)
