"""Nothing is pruned on doubt: what becomes of events while Azure or the cluster gives no clear answer.

==  ===============================  ==  ===============================  ==  ==========================
24  a lost read permission           25  throttling in mid-plan           26  a cluster out of reach
==  ===============================  ==  ===============================  ==  ==========================
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import naming
from shared.errors import PermanentError, TransientError
from tests.fakes.aftermath import NOTHING, identity_of, made, mark, prunes, tell, writes
from tests.fakes.azure_events import event
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, STORAGE, SUBSCRIPTION, LocalApp, make_app

KEY = naming.fold_id(CLUSTER)
DATA = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-data"


@pytest.fixture
def hasty(tmp_path: Path) -> LocalApp:
    """An app without a grace period."""
    return make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")


# 24
@pytest.mark.parametrize("code", ["access-denied", "subscription-disabled", "subscription-not-found"])
async def test_without_the_right_to_read_nothing_is_pruned_and_the_connection_stands(
    hasty: LocalApp, code: str
):
    connection_id = await made(hasty)
    hasty.world.remove(STORAGE)
    before, since = hasty.leftovers(), mark(hasty)
    hasty.journal.before = lambda call: PermanentError(code) if call.name == "resources.get" else None
    await tell(hasty, event(STORAGE))
    await hasty.settle(seconds=3600)
    [prune] = await prunes(hasty, connection_id)
    assert (prune.state, prune.code, await hasty.state(connection_id)) == ("failed", code, "configured")
    assert (hasty.leftovers(), writes(hasty, since)) == (before, {})


async def test_while_azure_says_not_found_to_everything_a_prune_is_held_and_ends_when_it_speaks_again(
    hasty: LocalApp,
):
    connection_id = await made(hasty)
    world = hasty.world
    there = (dict(world.resources), set(world.groups), dict(world.identities))
    world.resources, world.groups, world.identities = {}, set(), {}
    since = mark(hasty)
    await tell(hasty, event(STORAGE))
    await hasty.settle(seconds=7200)
    [held] = await prunes(hasty, connection_id)
    assert (held.state, held.waiting) == ("held", "no-canary")
    assert writes(hasty, since) == {}
    world.resources, world.groups, world.identities = there
    await hasty.settle(seconds=3600)
    [ended] = await prunes(hasty, connection_id)
    assert (ended.code, await hasty.state(connection_id)) == ("resource-alive", "configured")
    assert writes(hasty, since) == {}


# 25
@pytest.mark.parametrize(
    "error",
    [TransientError("throttled", retry_after_seconds=30), TransientError("timeout")],
    ids=["429", "no answer in time"],
)
async def test_a_throttle_in_the_middle_of_a_groups_prunes_keeps_what_is_done_and_tries_the_rest_again(
    hasty: LocalApp, error: TransientError
):
    ids = []
    for name in ("one", "two", "three"):
        account = f"{DATA}/providers/Microsoft.Storage/storageAccounts/{name}"
        blob = {"properties": {"primaryEndpoints": {"blob": f"https://{name}.blob.core.windows.net/"}}}
        hasty.world.add_resource(account, blob)
        target = {"type": "storage-blob", "id": account}
        ids.append(await made(hasty, name, target=target, workload=name))
    hasty.world.remove(DATA)
    refused = ["roles.delete", "clusters.delete", "clusters.delete", "identities.delete", "resources.get"]
    passed: dict[str, int] = {}

    def busy(call: Call) -> TransientError | None:
        # One call of each kind goes through before the first that does not.
        passed[call.name] = passed.get(call.name, 0) + 1
        if call.name in refused and passed[call.name] > 1:
            refused.remove(call.name)
            return error
        return None

    since = mark(hasty)
    hasty.journal.before = busy
    await tell(hasty, event(DATA))
    await hasty.settle(seconds=3 * 3600)
    assert refused == []
    assert [await hasty.state(one) for one in ids] == ["pruned"] * 3
    assert [len(await prunes(hasty, one)) for one in ids] == [1, 1, 1]
    assert hasty.leftovers() == NOTHING
    counts = writes(hasty, since)
    assert (counts["identities.delete"], counts["clusters.delete"]) == (4, 8), "each once, and each refusal"


# 26
async def test_a_cluster_out_of_reach_is_waited_for_and_never_taken_for_gone(hasty: LocalApp):
    connection_id = await made(hasty)
    identity_id = await identity_of(hasty, connection_id)
    hasty.world.remove(identity_id)
    hasty.world.clusters[KEY].reachable = False
    objects = dict(hasty.world.clusters[KEY].objects)
    await tell(hasty, event(identity_id))
    await hasty.settle(seconds=600)
    [prune] = await prunes(hasty, connection_id)
    assert (prune.state, await hasty.state(connection_id)) == ("running", "pruning")
    assert hasty.world.clusters[KEY].objects == objects
    hasty.world.clusters[KEY].reachable = True
    await hasty.settle(seconds=1200)
    assert (await hasty.state(connection_id), hasty.leftovers()) == ("pruned", NOTHING)


async def test_a_cluster_that_is_stopped_or_private_and_there_for_azure_orphans_nothing(hasty: LocalApp):
    connection_id = await made(hasty)
    hasty.world.clusters[KEY].reachable = False
    before, since = hasty.leftovers(), mark(hasty)
    await tell(hasty, event(CLUSTER))
    await hasty.settle(seconds=3600)
    [prune] = await prunes(hasty, connection_id)
    assert (prune.code, await hasty.state(connection_id)) == ("resource-alive", "configured")
    assert (hasty.leftovers(), writes(hasty, since)) == (before, {})
