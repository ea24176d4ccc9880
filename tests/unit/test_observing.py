"""Who is watched: linkers of our clusters alone, and their objects only where the policy lists them."""

import json

import pytest

from shared import naming
from tests.fakes.local_app import CLUSTER, POLICY, STORAGE, SUBSCRIPTION, LocalApp
from tests.unit.test_prune_rules import linker


@pytest.mark.parametrize(
    "linker_id",
    [
        "/x",
        f"{STORAGE}/providers/Microsoft.ServiceLinker/linkers/x",
        f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/x".replace(
            SUBSCRIPTION, "99999999-9999-4999-8999-999999999999"
        ),
        f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/x%2f",
    ],
)
async def test_a_note_about_anything_but_a_linker_of_our_clusters_asks_azure_nothing(
    app: LocalApp, linker_id: str
):
    note = json.dumps({"observe": {"linkerId": linker_id, "tries": 0}})
    assert await app.services.events.receive(note) == ["observe:refused"]
    assert app.journal.names() == []


@pytest.mark.parametrize(
    ("namespace", "policy"),
    [("kube-system", POLICY), ("shop", POLICY.replace('namespaces = ["*"]', 'namespaces = ["other"]'))],
)
async def test_objects_are_looked_at_only_where_the_policy_lists_them(
    app: LocalApp, namespace: str, policy: str
):
    app.policy_file.write_text(policy)
    linker_id = linker(app, "theirs", namespace=namespace)
    assert await app.services.events.observer.observe(linker_id, tries=0) == "observe:not-in-policy"
    assert "clusters.get" not in app.journal.names()


async def test_an_observed_account_that_is_being_removed_is_looked_at_again(app: LocalApp):
    client_id = app.world.guid()
    linker_id = linker(app, "theirs", client_id=client_id)
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{client_id}")
    assert await app.services.events.observer.observe(linker_id, tries=0) == "observed"
    users = app.services.events.observer.users
    [row] = app.store.rows("users")
    thing = json.loads(str(row.columns["body"]))["thing"]
    shared = await users.get(thing)
    assert shared is not None
    theirs = naming.connection_id(CLUSTER, "shop", "theirs")
    await users.leave(thing, shared.users[0], operation_id=naming.operation_id(theirs, "x"))
    assert await app.services.events.observer.observe(linker_id, tries=0) == "observe:later"
    app.clock.advance(200)
    assert await app.services.events.observer.observe(linker_id, tries=0) == "observed"
