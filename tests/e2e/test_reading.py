"""What is told before and after a connection is made: targets, plan, configuration, manifests."""

from __future__ import annotations

import sys

import pytest
import yaml

from sandbox.pod import run_pod
from tests.e2e.cluster import EXAMPLES
from tests.e2e.together import story
from tests.e2e.world import World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]


@story
async def test_a_plan_comes_true_and_is_told_afterwards(world: World):
    namespace = await world.cluster.new_namespace("story-reading")
    spec = world.spec("read", namespace=namespace)
    plan = (await world.api("POST", "connections/plan", {"connection": spec})).body
    assert (plan["result"], plan["unchanged"], plan["policy"]["verdict"]) == ("ok", False, "allowed"), plan
    assert (await world.api("GET", f"connections/{plan['connectionId']}")).status == 404, "nothing was made"
    assert await world.cluster.names(namespace) == ([], [])
    connection = await world.create(spec)
    assert connection["id"] == plan["connectionId"]
    assert connection["identity"]["resourceId"] == plan["identity"]["resourceId"]
    told = (await world.api("GET", f"connections/{connection['id']}/configuration")).body
    settings = {one["name"]: one["value"] for one in told["configurations"]}
    assert sorted(settings) == plan["secret"]["keys"]
    assert settings == await world.cluster.secret(namespace, plan["secret"]["name"])
    again = (await world.api("POST", "connections/plan", {"connection": spec})).body
    assert (again["unchanged"], again["result"]) == (True, "ok")
    assert again["federatedCredential"]["used"] == 1
    await world.delete(spec)


@story
async def test_each_whole_manifest_runs_the_program(world: World):
    namespace = await world.cluster.new_namespace("story-kinds")
    spec = world.spec("kinds", namespace=namespace)
    connection = await world.create(spec)
    images = {"IMAGE": [sys.executable, "program.py"]}
    for kind in ("pod", "job", "deployment"):
        answer = await world.api("GET", f"connections/{connection['id']}/manifest?kind={kind}")
        assert answer.status == 200, answer.body
        manifest = yaml.safe_load(answer.body)
        ran = await run_pod(world.contract, manifest, images=images, once=True, folder=EXAMPLES)
        assert (ran.exit_code, "succeeded" in ran.output) == (0, True), (kind, ran.output)
    await world.delete(spec)


@story
async def test_the_targets_that_are_listed_are_those_of_the_catalogue(world: World):
    found = (await world.api("GET", "targets")).body["targets"]
    assert len(found) == 27
    assert next(one for one in found if one["type"] == "storage-blob")["works"] is True
