"""The files of ``examples/``, filled in for one sandbox: what a reader would send, with their own ids."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sandbox.azurite import REPOSITORY

Object = dict[str, Any]

EXAMPLES = REPOSITORY / "examples"


def create_request(
    request_id: str,
    *,
    cluster_id: str,
    target_id: str,
    folder: Path = EXAMPLES,
    **changes: str,
) -> Object:
    """``create-request.json`` with a cluster and a target.

    Args:
        request_id: The sender's key.
        cluster_id: ARM id of the cluster.
        target_id: ARM id of the target.
        folder: Where the examples are.
        changes: Other properties of the connection; ``target_type`` is the target's.
    """
    request = _request("create", request_id, cluster_id, folder)
    connection = request["connection"]
    connection["target"]["id"] = target_id
    connection["target"]["type"] = changes.pop("target_type", connection["target"]["type"])
    connection.update(changes)
    return request


def delete_request(
    request_id: str,
    *,
    cluster_id: str,
    folder: Path = EXAMPLES,
    **changes: str,
) -> Object:
    """``delete-request.json`` with a cluster; ``changes`` are other properties of the connection."""
    request = _request("delete", request_id, cluster_id, folder)
    request["connection"].update(changes)
    return request


def _request(action: str, request_id: str, cluster_id: str, folder: Path) -> Object:
    request: Object = json.loads((folder / f"{action}-request.json").read_text())
    request["requestId"] = request_id
    request["connection"]["clusterId"] = cluster_id
    return request


def example_pod(folder: Path = EXAMPLES) -> Object:
    """``pod.yaml`` as it stands, with its placeholders."""
    pod: Object = yaml.safe_load((folder / "pod.yaml").read_text())
    return pod


def filled_pod(pod: Mapping[str, Any], snippet: str, *, name: str) -> Object:
    """A pod with what ``GET /api/connections/{id}/manifest`` says.

    Args:
        pod: The pod with placeholders; its container keeps image and command.
        snippet: The manifest's YAML.
        name: Name of the pod.

    Returns:
        A pod that uses the connection.
    """
    known: Object = yaml.safe_load(snippet)
    filled: Object = copy.deepcopy(dict(pod))
    filled["metadata"] |= {"name": name, "namespace": known["metadata"]["namespace"]}
    filled["metadata"]["labels"] = {**filled["metadata"].get("labels", {}), **known["metadata"]["labels"]}
    filled["spec"]["serviceAccountName"] = known["spec"]["serviceAccountName"]
    filled["spec"]["containers"][0]["envFrom"] = known["spec"]["containers"][0]["envFrom"]
    return filled
