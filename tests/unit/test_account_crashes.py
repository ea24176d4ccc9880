"""A crash at any call: a service account that was given keeps what was its owner's, and nothing of ours."""

from pathlib import Path

import pytest

from shared import naming
from tests.fakes.crash_host import Host, ask
from tests.fakes.crash_points import ID
from tests.fakes.local_app import CLUSTER, create_body, delete_body, make_app

ACCOUNT = ("ServiceAccount", "shop", "orders-sa")
CLIENT_ID = "azure.workload.identity/client-id"
THEIRS = {"team": "shop"}


def prepared(folder: Path, plan: str) -> Host:
    """An app in which an account stands that a rule lists."""
    app = make_app(folder, MOORING_PROVE="on")
    app.policy_file.write_text(f'{app.policy_file.read_text()}service_accounts = ["{ACCOUNT[2]}"]\n')
    app.clusters.put_object(CLUSTER, *ACCOUNT, annotations=THEIRS, manager="gitops")
    ask(app, create_body(serviceAccount=ACCOUNT[2]), "the-create")
    return Host(app, 0, after=plan.endswith("after"))


def annotations(host: Host) -> dict[str, str]:
    return dict(host.app.world.clusters[naming.fold_id(CLUSTER)].objects[ACCOUNT].annotations)


async def end(host: Host) -> None:
    ask(host.app, delete_body(), "the-delete")
    await host.settle()


@pytest.mark.parametrize("plan", ["create-after", "delete-before"])
async def test_a_crash_at_any_call_leaves_the_account_as_it_was(tmp_path: Path, plan: str):
    quiet = prepared(tmp_path, plan)
    if plan.startswith("delete"):
        await quiet.settle()
    start = len(quiet.app.journal.calls)
    await (end(quiet) if plan.startswith("delete") else quiet.settle())
    calls = quiet.app.journal.names()[start:]
    assert "clusters.apply" in calls
    for number in range(1, len(calls) + 1):
        host = prepared(tmp_path, plan)
        where = f"{plan} call {number}, {calls[number - 1]}"
        if plan.startswith("delete"):
            await host.settle()
        host.dies_at = number
        host.arm()
        if plan.startswith("create"):
            await host.settle()
            stored = await host.app.services.state.connection(ID)
            assert stored is not None
            assert stored.value.state.value == "usable", where
            assert annotations(host)[CLIENT_ID], where
        await end(host)
        assert host.died, where
        assert annotations(host) == THEIRS, where
        left = host.app.leftovers()
        assert left["objects"] == ["ServiceAccount shop/orders-sa"], where
        assert left["users"] == left["assignments"] == left["identities"] == [], where
