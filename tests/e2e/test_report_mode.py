"""A report gives the evidence of a prune and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.sandbox_process import SETTINGS, running_sandbox
from tests.e2e.test_evidence import items, prune_of
from tests.e2e.test_service_connector import LINKER_VERSION, make_linker, observed
from tests.e2e.world import World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]


async def test_a_report_gives_the_same_evidence_and_changes_nothing(tmp_path: Path):
    settings = {**SETTINGS, "MOORING_PRUNE_MODE": "report"}
    with running_sandbox(tmp_path, settings=settings) as contract:
        async with World.opened(contract) as world:
            namespace = await world.cluster.new_namespace("story-report")
            await world.allow_every_cluster()
            linker_id, identity = await make_linker(world, "reported", namespace)
            seen = await observed(world, namespace)
            secret, account = "sc-reported-secret", f"sc-account-{identity.client_id}"
            await world.delete_resource(linker_id, LINKER_VERSION)
            record = await prune_of(world, seen["id"], "succeeded")
            assert (record["decision"], record["rule"]) == ("reported", "report-mode")
            assert record["fact"]["confirmedAt"]
            assert {one["outcome"] for one in record["objects"]} == {"would"}
            assert items(record) == [
                ("Secret", secret, "proven-by-uid", "uid", 0, "yes"),
                ("ServiceAccount", account, "proven-by-uid", "uid", 0, "yes"),
            ]
            assert record["restore"] is None
            refused = await world.api("POST", f"prunes/{record['id']}/restore")
            assert (refused.status, refused.body["code"]) == (409, "not-restorable")
            assert await world.cluster.names(namespace) == ([secret], [account])
