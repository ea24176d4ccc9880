"""``python -m sandbox pod run MANIFEST``: a cluster's node on this machine, for one pod.

The workload-identity webhook changes the pod before it is created (``pod_spec``), the kubelet runs
it (``node``). Left out, because nothing here has a container: images (an image's command is given
by the caller, its working directory is the manifest's folder), volumes other than the token, and
every container but the first.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp
import yaml

from sandbox.contract import Contract, ContractError
from sandbox.node import NODE_NAME, Cluster, Node, PodResult
from sandbox.pod_spec import Object, PodRefusedError, mutate, pod_of

CREATE_TRIES = 10


async def run_pod(
    contract: Contract,
    manifest: Object | Sequence[Object],
    *,
    namespace: str = "",
    images: Mapping[str, Sequence[str]] | None = None,
    once: bool = False,
    folder: Path | None = None,
) -> PodResult:
    """Create a pod, run it to its end, report it.

    Args:
        contract: The running sandbox.
        manifest: A pod or a workload with a pod template (or several documents).
        namespace: Where to create it when the manifest does not say.
        images: Command of an image, for containers without a command of their own.
        once: Delete the pod afterwards.
        folder: Working directory of the command.

    Returns:
        Exit code and output of the first container.

    Raises:
        PodRefusedError: The cluster does not take the pod.
    """
    tls = ssl.create_default_context(cafile=contract.ca_file)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        cluster = Cluster(contract, session)
        pod = await create_pod(cluster, contract, manifest, namespace=namespace)
        name, space = pod["metadata"]["name"], pod["metadata"]["namespace"]
        try:
            result = await Node(contract, cluster, pod, images or {}, folder).run()
        finally:
            if once:
                await cluster.call("DELETE", f"{space}/pods/{name}", {"gracePeriodSeconds": 0})
        return result


async def create_pod(
    cluster: Cluster,
    contract: Contract,
    manifest: Object | Sequence[Object],
    *,
    namespace: str = "",
) -> Object:
    """Create the pod as admission lets it through: service account checked, webhook applied.

    Returns:
        The pod that the API answered.

    Raises:
        PodRefusedError: No such service account, or the API refused.
    """
    pod = pod_of([manifest] if isinstance(manifest, dict) else list(manifest), namespace)
    space, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    account = pod["spec"]["serviceAccountName"]
    status, service_account = await cluster.call("GET", f"{space}/serviceaccounts/{account}")
    if status == 404 and account != "default":
        raise PodRefusedError(
            f'pods "{name}" is forbidden: error looking up service account {space}/{account}: '
            f'serviceaccount "{account}" not found',
        )
    mutate(
        pod,
        service_account,
        tenant_id=contract.tenant_id,
        authority_host=f"{contract.entra_url}/",
    )
    pod["spec"]["nodeName"] = NODE_NAME
    for _ in range(CREATE_TRIES):
        status, created = await cluster.call("POST", f"{space}/pods", pod)
        if created.get("reason") != "ServerTimeout":
            break
        # An account that was just made may have no token yet: whoever creates pods is told to come again.
        await asyncio.sleep(float(created.get("details", {}).get("retryAfterSeconds", 1)))
    if status == 409:
        raise PodRefusedError(
            f"pod {space}/{name} exists already, from an earlier run without --once: delete it with\n"
            f"kubectl --kubeconfig {contract.kubeconfig} delete pod {name} -n {space} --force"
        )
    if status not in {200, 201}:
        raise PodRefusedError(f"the API answered {status}: {created.get('message', '')}")
    return created


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``pod``."""
    verbs = parser.add_subparsers(dest="verb", required=True)
    runs = verbs.add_parser("run", help="create the pod of a manifest and run its command here")
    runs.add_argument("manifest", type=Path)
    runs.add_argument("--contract", required=True, metavar="FILE", help="- for standard input")
    runs.add_argument("--namespace", default="", help="for manifests that name none")
    runs.add_argument("--image", action="append", default=[], metavar="IMAGE=COMMAND")
    runs.add_argument("--once", action="store_true", help="delete the pod at the end")


def run(arguments: argparse.Namespace) -> int:
    """Run ``pod run``.

    Returns:
        The exit code of the pod's command, or 2 if there was no pod to run.
    """
    images: dict[str, list[str]] = {}
    for pair in arguments.image:
        image, _, command = pair.partition("=")
        images[image] = shlex.split(command)
    try:
        contract = Contract.load(arguments.contract)
        documents = list(yaml.safe_load_all(arguments.manifest.read_text()))
    except (ContractError, OSError, yaml.YAMLError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        result = asyncio.run(
            run_pod(
                contract,
                documents,
                namespace=arguments.namespace,
                images=images,
                once=arguments.once,
                folder=arguments.manifest.resolve().parent,
            ),
        )
    except PodRefusedError as error:
        print(error, file=sys.stderr)
        return 2
    except (aiohttp.ClientError, OSError) as error:
        print(contract.unanswered(error), file=sys.stderr)
        return 2
    print(result.output, end="")
    return result.exit_code if result.exit_code >= 0 else 128 - result.exit_code
