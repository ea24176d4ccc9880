"""The Secrets Store CSI Driver's add-on as a cluster's owner switches it on: here, its kind alone."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.contract.ports_azure import NAMESPACE, Azure
from tests.contract.ports_sandbox import control

GROUP = "secrets-store.csi.x-k8s.io"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = f"secretproviderclasses.{GROUP}"
DEFINITION = Path(__file__).parents[1] / "data" / "secret_provider_class_definition.json"
"""As little of the driver's own definition as tells what we write and what we look at."""
SECONDS = 30.0


@contextlib.contextmanager
def secrets_store(azure: Azure) -> Iterator[None]:
    """The cluster has the driver for a while."""
    if azure.fake_clusters is not None:
        azure.fake_clusters.set_secrets_store(azure.cluster_id, on=True)
        yield
        azure.fake_clusters.set_secrets_store(azure.cluster_id, on=False)
        return
    _as_admin(azure, "POST", DEFINITIONS, json.loads(DEFINITION.read_text(encoding="utf-8")))
    _wait(azure, served=True)
    try:
        yield
    finally:
        _as_admin(azure, "DELETE", f"{DEFINITIONS}/{NAME}")
        _wait(azure, served=False)


def sync_to_a_secret(azure: Azure, name: str) -> None:
    """Somebody adds to a class what no connection writes."""
    path = f"/apis/{GROUP}/v1/namespaces/{NAMESPACE}/secretproviderclasses/{name}"
    found = _as_admin(azure, "GET", path)
    found["spec"]["secretObjects"] = [{"secretName": "synced", "type": "Opaque"}]
    _as_admin(azure, "PUT", path, found)


def _as_admin(azure: Azure, method: str, path: str, body: Any = None) -> Any:
    contract = azure.contract or {}
    url = f"{contract['cluster_server']}{path}"
    return control(contract, url, method=method, body=body, token=contract["kubernetes_admin_token"])


def _wait(azure: Azure, *, served: bool) -> None:
    """A real API server serves a new kind, and forgets an old one, a moment later."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        groups = {group["name"] for group in _as_admin(azure, "GET", "/apis")["groups"]}
        if (GROUP in groups) is served:
            return
        time.sleep(0.2)
    raise AssertionError(f"{GROUP} is {'not ' if served else ''}served after {SECONDS} s")
