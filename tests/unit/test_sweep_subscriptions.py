"""What a sweep finds in a subscription that no event has told."""

import dataclasses

import pytest

from shared import naming
from shared.errors import PermanentError
from shared.inventory import Inventory
from shared.ports import Credential
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    IDENTITY_GROUP,
    STORAGE,
    SUBSCRIPTION,
    VAULT,
    LocalApp,
)
from tests.fakes.sweeps import connected, prunes, put_linker, swept

ISSUER = "https://issuer.example/dead/"
THEIRS = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/theirs"


def identity_of(app: LocalApp) -> str:
    return next(iter(app.world.identities))


async def test_a_target_that_is_gone_prunes_what_relied_on_it_and_nothing_else(app: LocalApp):
    gone = await connected(app)
    kept = await connected(app, "orders-vault", target={"type": "keyvault", "id": VAULT})
    app.world.remove(STORAGE)
    found = await swept(app)
    assert found["totals"]["prunes"] == {"target": 1}
    assert (await prunes(app, gone), await prunes(app, kept)) == ([("target", "sweep")], [])


async def test_a_list_that_lacks_a_living_target_removes_nothing_and_is_heard_once_a_day(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    connection_id = await connected(app)
    before = app.leftovers()
    resources = app.services.sweeping.slices.workers["cluster"].lookout.outside.resources  # type: ignore[attr-defined]

    async def stale(*_: object, **__: object) -> list[str]:
        return []

    monkeypatch.setattr(type(resources._port), "list", stale)
    assert (await swept(app))["totals"]["prunes"] == {"target": 1}
    await app.settle()
    [prune] = [one for one in await app.operations(connection_id) if one.cause]
    assert (prune.state.value, prune.code) == ("succeeded", "resource-alive")
    assert app.leftovers() == before
    again = (await swept(app))["totals"]
    assert (again.get("prunes"), again["prunesKnown"]) == (None, 1)
    app.clock.advance(86_400)
    assert (await swept(app))["totals"]["prunes"] == {"target": 1}


async def test_a_target_of_a_living_linker_is_told_and_not_pruned(app: LocalApp):
    put_linker(app)
    await swept(app)
    theirs = naming.connection_id(CLUSTER, "shop", "theirs")
    stored = await app.services.state.connection(theirs)
    assert stored is not None
    # As an adopted one has it: its target is known to be relied on.
    dependents = app.services.events.dependents
    from shared.records import Dependent

    await dependents.add(Dependent(resource_id=STORAGE, kind="target", connection_id=theirs, generation=1))
    app.world.remove(STORAGE)
    found = await swept(app)
    assert found["totals"]["drift"] == {"target-missing": 1}
    assert await prunes(app, theirs) == []


async def test_an_identity_that_is_gone_or_was_made_again_is_a_cause(app: LocalApp):
    connection_id = await connected(app)
    identity = identity_of(app)
    app.world.identities[identity] = dataclasses.replace(
        app.world.identities[identity], client_id="55555555-5555-4555-8555-555555555555"
    )
    assert (await swept(app))["totals"]["prunes"] == {"identity": 1}
    app.world.remove(identity)
    assert (await swept(app))["totals"]["prunesKnown"] == 1
    assert await prunes(app, connection_id) == [("identity", "sweep")]
    await app.settle()
    assert await app.state(connection_id) == "pruned"


async def test_a_credential_that_is_gone_is_a_cause_and_an_orphaned_connection_does_not_miss_it(
    app: LocalApp,
):
    connection_id = await connected(app)
    app.world.credentials[identity_of(app)].clear()
    assert (await swept(app))["totals"]["prunes"] == {"credential": 1}
    await app.settle()
    assert await app.state(connection_id) == "orphaned"
    assert "prunes" not in (await swept(app))["totals"]


async def test_an_equal_credential_under_another_name_is_as_good(app: LocalApp):
    await connected(app)
    credentials = app.world.credentials[identity_of(app)]
    [(name, ours)] = credentials.items()
    del credentials[name]
    credentials["theirs"] = dataclasses.replace(ours, name="theirs")
    assert "prunes" not in (await swept(app))["totals"]


async def test_a_role_assignment_that_is_gone_is_drift(app: LocalApp):
    connection_id = await connected(app)
    app.world.assignments.clear()
    found = await swept(app)
    assert found["totals"]["drift"] == {"role-missing": 1}
    seen = await app.services.sweeping.drifts.of(naming.connection_of(connection_id))
    [item] = seen["subscription"].found
    assert item.thing == f"Storage Blob Data Contributor on {STORAGE}"


async def test_an_assignment_to_an_earlier_identity_that_is_gone_is_told(app: LocalApp):
    connection_id = await connected(app)
    stored = (await app.services.state.intents(naming.connection_of(connection_id)))["role_assignments"]
    [item] = stored.planned["assignments"]
    [key] = app.world.assignments
    dead = {**item, "principalId": "dead", "name": "an-old-name"}
    app.world.assignments[key[0], "an-old-name"] = dataclasses.replace(
        app.world.assignments[key], name="an-old-name", principal_id="dead"
    )
    from shared.models import Plan
    from shared.ports import Upsert
    from shared.rows import columns

    earlier = stored.model_copy(update={"previous": (Plan(planned={"assignments": [dead]}),)})
    await app.store.transact(
        "connections", connection_id, [Upsert(key="i|role_assignments", columns=columns(earlier))]
    )
    assert (await swept(app))["totals"]["drift"] == {"role-stale": 1}


async def test_what_may_not_be_listed_says_nothing(app: LocalApp):
    connection_id = await connected(app)
    app.world.remove(STORAGE)
    app.world.remove(identity_of(app))

    def refuse(call: Call) -> BaseException | None:
        lists = {"resources.list", "identities.list", "roles.list", "identities.list_credentials"}
        return PermanentError("access-denied", "no") if call.name in lists else None

    app.journal.before = refuse
    found = await swept(app)
    assert "prunes" not in found["totals"]
    assert set(found["details"]) == {
        "identities-not-listed",
        "our-identities-not-listed",
        "roles-not-listed",
        "targets-not-listed",
    }
    assert await prunes(app, connection_id) == []


async def test_with_the_right_to_our_own_group_alone_our_identities_are_still_looked_at(app: LocalApp):
    connection_id = await connected(app)
    app.world.remove(identity_of(app))

    def refuse(call: Call) -> BaseException | None:
        wide = call.name == "identities.list" and "resourcegroups" not in str(call.arguments).lower()
        return PermanentError("access-denied", "no") if wide else None

    app.journal.before = refuse
    found = await swept(app)
    assert found["details"] == {"identities-not-listed": 1}
    assert await prunes(app, connection_id) == [("identity", "sweep")]


async def test_an_identity_of_ours_that_nobody_uses_is_an_orphan_and_stays(app: LocalApp):
    await connected(app)
    unused = f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mooring-old"
    elsewhere = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mooring-old"
    identities = app.services.engine.outside.identities
    for one in (unused, elsewhere):
        await identities.ensure(one, location="westeurope", tags={"mooring-workload": "abc"})
    foreign = f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/foreign"
    await identities.ensure(foreign, location="westeurope", tags={})
    found = await swept(app)
    assert found["totals"]["orphans"] == {"identity": {"new": 1}}
    [row] = app.store.rows("orphans")
    assert (row.columns["name"], row.columns["rule"]) == ("mooring-old", "no-users")
    await app.settle()
    assert naming.fold_id(unused) in app.world.identities
    app.world.remove(unused)
    app.clock.advance(3600)
    assert (await swept(app))["totals"]["orphans"] == {"identity": {"gone": 1}}
    app.clock.advance(3600)
    await swept(app)
    assert app.store.rows("orphans") == []


async def test_an_identity_whose_users_row_was_lost_is_no_orphan(app: LocalApp):
    await connected(app)
    app.store._tables["users"].clear()
    app.store._tables["linkers"].clear()
    app.clusters.may_list = False
    found = await swept(app)
    assert found["totals"]["usersRowsMissing"] == 1
    assert "identity" not in found["totals"].get("orphans", {})


async def test_an_identity_that_the_list_still_has_and_azure_has_not_is_no_orphan(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    unused = f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mooring-old"
    identities = app.services.engine.outside.identities
    listed = await identities.ensure(unused, location="westeurope", tags={"mooring-workload": "abc"})
    app.world.remove(unused)

    async def stale(*_: object) -> list[object]:
        return [listed]

    monkeypatch.setattr(type(identities._port), "list", stale)  # type: ignore[attr-defined]
    assert "orphans" not in (await swept(app))["totals"]


async def test_credentials_of_a_dead_issuer_are_pruned_if_ours_and_told_if_not(app: LocalApp):
    connection_id = await connected(app)
    dead = app.world.clusters[naming.fold_id(CLUSTER)].described.issuer
    await swept(app)
    identities = app.services.engine.outside.identities
    await identities.ensure(THEIRS, location="westeurope", tags={})
    for name in ("theirs", "AKS-identity-binding", "living"):
        credential = Credential(
            name=name, issuer="https://living/" if name == "living" else dead, subject=name, audiences=("a",)
        )
        await identities.ensure_credential(THEIRS, credential)
    app.world.remove(CLUSTER)
    found = await swept(app)
    assert found["totals"]["prunes"] == {"cluster": 1}
    await app.settle()
    assert await app.state(connection_id) == "orphaned"
    found = await swept(app)
    [row] = app.store.rows("orphans")
    assert (row.columns["name"], row.columns["rule"]) == ("theirs", "dead-issuer")
    assert len(app.world.credentials[naming.fold_id(THEIRS)]) == 3
    [cluster] = await Inventory(app.store).clusters()
    assert (cluster.issuer, cluster.former_issuers) == ("", (dead,))


async def test_rows_of_lives_that_are_over_go_and_those_of_the_present_life_stay(app: LocalApp):
    from tests.fakes.local_app import delete_body

    await connected(app)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    first = len(app.store.rows("dependents"))
    assert (await swept(app))["totals"]["rowsRemoved"] > first / 2
    assert app.store.rows("dependents") == []
    await app.send({**create_again()}, message_id="again")
    await app.settle()
    rows = len(app.store.rows("dependents"))
    assert rows == first
    assert (await swept(app))["totals"]["rowsRemoved"] == 1  # what was kept aside of the life before
    assert "rowsRemoved" not in (await swept(app))["totals"]
    assert len(app.store.rows("dependents")) == rows


def create_again() -> dict[str, object]:
    from tests.fakes.local_app import create_body

    return create_body()


async def test_a_subscription_that_asks_for_patience_is_waited_for(app: LocalApp):
    from shared.errors import TransientError

    await connected(app)
    refused = []

    def throttle(call: Call) -> BaseException | None:
        if call.name == "identities.list" and len(refused) < 7:
            refused.append(call)
            return TransientError("throttled", "slow down", retry_after_seconds=30)
        return None

    app.journal.before = throttle
    found = await swept(app)
    assert len(refused) == 7
    assert (found["state"], found["details"]) == ("done", {})
    assert found["totals"]["connections"] == 1
    assert await app.services.engine.limits.throttled_until(SUBSCRIPTION) is not None


async def test_a_throttle_that_somebody_else_has_met_is_honoured(app: LocalApp):
    from datetime import timedelta

    until = app.clock.now() + timedelta(seconds=300)
    await app.services.engine.limits.throttle(SUBSCRIPTION, not_before=until)
    before = len(app.journal.calls)
    sweep = swept(app, patience_seconds=200)
    found = await sweep
    assert found["state"] == "running"
    asked = [one for one in app.journal.names()[before:] if one.startswith(("clusters.", "identities."))]
    assert asked == []
