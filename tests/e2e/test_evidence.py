"""A prune explains itself over HTTP and is undone by request."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import Any

import pytest

from tests.e2e.test_service_connector import LINKER_VERSION, make_linker, observed
from tests.e2e.together import story
from tests.e2e.world import FINAL, Json, World, eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]


async def prune_of(world: World, connection_id: str, state: str) -> Json:
    """The record of a connection's prune, once it is in that state."""

    async def look() -> Json | None:
        listed = (await world.api("GET", f"prunes?state={state}")).body["prunes"]
        mine = [one for one in listed if one["connectionId"] == connection_id]
        return dict((await world.api("GET", mine[0]["record"])).body) if mine else None

    return await eventually(look)


async def secret_by_kubectl(world: World, namespace: str, name: str) -> Json:
    """What ``kubectl get secret`` shows, or the Kubernetes client where there is no kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        found = await world.cluster.core.read_namespaced_secret(name, namespace)
        return {"metadata": {"annotations": found.metadata.annotations, "labels": found.metadata.labels}}
    contract = world.contract
    process = await asyncio.create_subprocess_exec(
        kubectl,
        f"--server={contract.cluster_server}",
        f"--certificate-authority={contract.ca_file}",
        f"--token={contract.kubernetes_admin_token}",
        *("get", "secret", name, "--namespace", namespace, "--output", "json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return dict(json.loads(out))


def items(record: Json) -> list[tuple[Any, ...]]:
    """What a record says of each object, whatever was done about it."""
    return sorted(
        (one["kind"], one["name"], one["rule"], one["proof"]["by"], one["use"]["users"], one["restorable"])
        for one in record["objects"]
    )


@story
async def test_a_pruned_leftover_is_explained_put_back_kept_and_deleted_by_request(world: World):
    namespace = await world.cluster.new_namespace("story-undone")
    linker_id, identity = await make_linker(world, "undone", namespace)
    secret, account = "sc-undone-secret", f"sc-account-{identity.client_id}"
    seen = await observed(world, namespace)
    before = await world.cluster.secret(namespace, secret)
    await world.delete_resource(linker_id, LINKER_VERSION)
    await world.connection_in(seen["id"], "pruned")
    assert await world.cluster.names(namespace) == ([], [])

    record = await prune_of(world, seen["id"], "succeeded")
    assert (record["decision"], record["rule"]) == ("removed", "confirmed-gone")
    fact = record["fact"]
    assert (fact["kind"], fact["resourceId"].lower()) == ("linker", linker_id.lower())
    assert fact["eventTime"]
    assert fact["firstGoneAt"] < fact["confirmedAt"]
    assert items(record) == [
        ("Secret", secret, "proven-by-uid", "uid", 0, "yes"),
        ("ServiceAccount", account, "proven-by-uid", "uid", 0, "yes"),
    ]

    accepted = await world.api("POST", record["restore"], headers={"Idempotency-Key": "undo-1"})
    assert accepted.status == 202, accepted.body

    async def ended() -> Json | None:
        operation = (await world.api("GET", accepted.headers["location"])).body
        return operation if operation["state"] in FINAL else None

    operation = await eventually(ended)
    assert (operation["kind"], operation["state"]) == ("restore", "succeeded"), operation
    hops = {one["name"]: one["result"] for one in operation["findings"]}
    # Service Connector took back what it had granted; the identity is its owner's.
    assert hops == {
        "linker-exists": "failed",
        "target-exists": "ok",
        "identity-exists": "ok",
        "credential-exists": "failed",
        "role-assigned": "failed",
    }
    assert await world.cluster.names(namespace) == ([secret], [account])
    assert await world.cluster.secret(namespace, secret) == before
    shown = await secret_by_kubectl(world, namespace, secret)
    assert shown["metadata"]["annotations"]["mooring.dev/keep"] == "restore"
    assert (await world.connection(seen["id"]))["state"] == "restored"

    asked = await world.api("DELETE", f"connections/{seen['id']}")
    assert asked.status == 202, asked.body
    await world.connection_in(seen["id"], "deleted")
    assert await world.cluster.names(namespace) == ([], [])
