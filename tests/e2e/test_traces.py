"""One operation is one trace: its request, every step, and each call to Azure and the cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.app_settings import SPANS_FILE
from sandbox.trace import Told, read, tree
from shared.naming import trace_of
from tests.e2e.together import story
from tests.e2e.world import Json, World, eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"


async def told_of(world: World, operation: Json) -> list[Told]:
    """Spans of an ended operation; the last is written a moment after its row."""
    trace_id, first_id = trace_of(operation["id"])

    async def look() -> list[Told] | None:
        found = [told for told in read(Path(world.contract.state_dir) / SPANS_FILE) if told.trace == trace_id]
        return found if any(told.span == first_id for told in found) else None

    return await eventually(look)


def calls_below(spans: list[Told], step: str) -> list[str]:
    [run] = [told for told in spans if told.name == f"step {step}" and told.fields["outcome"] == "done"]
    return [told.name for told in spans if told.parent == run.span]


@story
async def test_a_create_is_one_trace_with_every_step_and_each_call(world: World):
    namespace = await world.cluster.new_namespace("story-trace")
    spec = world.spec("traced", namespace=namespace, workload="traced")
    answer = await world.api(
        "POST",
        "connections",
        {"connection": spec, "requestId": f"trace-{namespace}"},
        headers={"traceparent": f"00-{CALLER}-00f067aa0ba902b7-01"},
    )
    assert answer.status == 202, answer.body
    operation = await world.ended(f"trace-{namespace}")
    assert operation["state"] == "succeeded", operation
    trace_id, first_id = trace_of(operation["id"])
    assert operation["traceId"] == trace_id

    spans = await told_of(world, operation)
    [opened] = [told for told in spans if told.name == "open create"]
    assert (opened.links, opened.parent) == ([CALLER], first_id)
    steps = {told.name: told for told in spans if told.name.startswith("step ")}
    assert set(steps) == {f"step {step['name']}" for step in operation["steps"]}
    assert {told.parent for told in steps.values()} == {first_id}
    # Every span hangs on another one of the same trace, up to the first.
    known = {told.span for told in spans}
    assert {told.parent for told in spans} - known == {""}

    assert "ARM PUT microsoft.managedidentity/userassignedidentities" in calls_below(
        spans, "managed_identity"
    )
    assert "ARM PUT microsoft.authorization/roleassignments" in calls_below(spans, "role_assignments")
    credential = "microsoft.managedidentity/userassignedidentities/federatedidentitycredentials"
    assert f"ARM PUT {credential}" in calls_below(spans, "federated_credential")
    assert "Kubernetes POST serviceaccounts" in calls_below(spans, "service_account")
    assert "Kubernetes POST secrets" in calls_below(spans, "settings")

    assert "create traced  succeeded" in next(tree(spans, operation["id"]))
    for word in ("Bearer", "eyJ", "AccountKey", "?api-version"):
        assert word not in (Path(world.contract.state_dir) / SPANS_FILE).read_text()


@story
async def test_each_write_of_an_operation_that_the_services_saw_is_in_its_trace(world: World):
    namespace = await world.cluster.new_namespace("story-calls")
    spec = world.spec("counted", namespace=namespace, workload="counted")
    operation = await world.request("create", spec)
    spans = await told_of(world, operation)
    identity = (await world.connection(operation["connectionId"]))["identity"]["resourceId"]
    puts = [
        one["path"].partition("?")[0].lower()
        for one in await world.calls("arm", "PUT", identity.rsplit("/", 1)[-1])
    ]
    told = [one.fields["path"].lower() for one in spans if one.name.startswith("ARM PUT")]
    assert puts
    assert [path for path in puts if path not in told] == []
