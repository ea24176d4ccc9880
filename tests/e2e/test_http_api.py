"""The HTTP API as a client of Azure's asynchronous request-reply pattern meets it."""

from __future__ import annotations

import asyncio
import sys
import uuid
from urllib.parse import quote

import pytest
import yaml

from sandbox.pod import run_pod
from tests.e2e.cluster import EXAMPLES
from tests.e2e.together import story
from tests.e2e.world import FINAL, World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]


async def follow(world: World, location: str, retry_after: str) -> dict[str, object]:
    """Poll an operation as its answers ask for."""
    for _ in range(60):
        await asyncio.sleep(float(retry_after))
        answer = await world.api("GET", location)
        assert answer.status == 200
        if answer.body["state"] in FINAL:
            assert "retry-after" not in answer.headers
            return dict(answer.body)
        retry_after = answer.headers["retry-after"]
    raise AssertionError(f"{location} has no end")


@story
async def test_a_connection_lives_and_dies_over_http_alone(world: World):
    namespace = await world.cluster.new_namespace("story-http")
    body = {"connection": world.spec("web", namespace=namespace)}
    taken = await world.api("POST", "connections", body)
    assert (taken.status, taken.body["outcome"]) == (202, "opened")
    operation = await follow(world, taken.headers["location"], taken.headers["retry-after"])
    assert (operation["kind"], operation["state"]) == ("create", "succeeded")
    connection_id = taken.body["connectionId"]

    path = f"connections/{connection_id}"
    validated = await world.api("POST", f"{path}/validate")
    assert validated.status == 202
    findings = await follow(world, validated.headers["location"], validated.headers["retry-after"])
    assert findings["findings"]

    deleted = await world.api("DELETE", path)
    assert deleted.status == 202
    gone = await follow(world, deleted.headers["location"], deleted.headers["retry-after"])
    assert (gone["kind"], gone["state"]) == ("delete", "succeeded")
    assert (await world.api("DELETE", path)).status == 404
    assert await world.cluster.names(namespace) == ([], [])


@story
async def test_a_repeated_idempotency_key_is_the_same_request(world: World):
    namespace = await world.cluster.new_namespace("story-key")
    spec = world.spec("keyed", namespace=namespace)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answers = await asyncio.gather(
        *(world.api("POST", "connections", {"connection": spec}, headers=key) for _ in range(3)),
    )
    assert {one.status for one in answers} == {202}
    (location,) = {one.headers["location"] for one in answers}
    await follow(world, location, "1")
    late = await world.api("POST", "connections", {"connection": spec}, headers=key)
    assert late.headers["location"] == location
    again = await world.api("POST", "connections", {"connection": spec})
    assert (again.status, again.body["outcome"]) == (200, "unchanged")
    assert again.headers["location"] == location
    await world.delete(spec)


@story
async def test_nobody_gets_in_without_a_key(world: World):
    for method, path in (
        ("GET", "connections"),
        ("POST", "connections"),
        ("GET", "connections/0123456789abcdef01234567"),
        ("DELETE", "connections/0123456789abcdef01234567"),
        ("GET", "operations"),
        ("GET", "operations/x"),
    ):
        for key in (None, "wrong"):
            assert (await world.api(method, path, key=key)).status == 401, (method, path, key)


@story
async def test_unknown_things_are_problems_with_a_code(world: World):
    for path in (
        "connections/0123456789abcdef01234567",
        "connections/not-an-id",
        "connections/0123456789abcdef01234567/manifest",
        "operations/0123456789abcdef01234567-0123456789ab",
        "operations/x%27%20or%20true",
        "operations/rejected-20260101-0123456789abcdef01234567",
        "operations?requestId=never-sent",
    ):
        answer = await world.api("GET", path)
        assert (answer.status, answer.body["code"]) == (404, "not-found"), path
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert answer.body["title"]
        assert answer.body["type"]
    answer = await world.api("GET", "operations?state=rejected&day=today")
    assert (answer.status, answer.body["code"]) == (400, "invalid-day")


@story
async def test_the_list_is_filtered(world: World):
    namespace = await world.cluster.new_namespace("story-list")
    specs = [world.spec(name, namespace=namespace, workload="w") for name in ("one", "two")]
    await asyncio.gather(*(world.create(spec) for spec in specs))
    await world.delete(specs[1])
    cluster = quote(world.contract.cluster_id.upper(), safe="")

    async def names(query: str) -> list[str]:
        answer = await world.api("GET", f"connections?namespace={namespace}&{query}")
        assert answer.body["truncated"] is False
        return sorted(one["name"] for one in answer.body["connections"])

    assert await names("") == ["one", "two"]
    assert await names("state=configured") == ["one"]
    assert await names("state=deleted") == ["two"]
    assert await names(f"clusterId={cluster}") == ["one", "two"]
    assert await names(f"clusterId={cluster}2") == []
    await world.delete(specs[0])


@story
async def test_the_manifest_runs_as_a_pod(world: World):
    namespace = await world.cluster.new_namespace("story-manifest")
    spec = world.spec("yaml", namespace=namespace)
    connection = await world.create(spec)
    answer = await world.api("GET", f"connections/{connection['id']}/manifest")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/yaml")
    manifest = yaml.safe_load(answer.body)
    manifest |= {"apiVersion": "v1", "kind": "Pod"}
    manifest["metadata"]["name"] = "from-manifest"
    images = {"IMAGE": [sys.executable, "program.py"]}
    ran = await run_pod(world.contract, manifest, images=images, once=True, folder=EXAMPLES)
    assert (ran.exit_code, "succeeded" in ran.output) == (0, True), ran.output
    await world.delete(spec)
