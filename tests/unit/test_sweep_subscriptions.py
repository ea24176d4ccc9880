"""What a sweep finds in a subscription that no event has told."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from shared import naming
from shared.drift import Drifts
from shared.errors import MooringError, PermanentError, TransientError, UnreadableRowError
from shared.inventory import Inventory, subscription_scope
from shared.models import ConnectionId, Intent, Plan
from shared.ports import Upsert
from shared.records import Dependent
from shared.rows import columns
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    STORAGE,
    SUBSCRIPTION,
    VAULT,
    LocalApp,
    create_body,
    delete_body,
)
from tests.fakes.sweeps import CLIENT, connected, prunes, put_linker, swept

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
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


async def test_rows_of_lives_that_are_over_go_and_those_of_the_present_life_stay(app: LocalApp):
    await connected(app)
    await app.send(delete_body(), message_id="d")
    await app.settle()
    first = len(app.store.rows("dependents"))
    assert (await swept(app))["totals"]["rowsRemoved"] > first / 2
    assert app.store.rows("dependents") == []
    await app.send(create_body(), message_id="again")
    await app.settle()
    rows = len(app.store.rows("dependents"))
    assert rows == first
    assert (await swept(app))["totals"]["rowsRemoved"] == 1  # what was kept aside of the life before
    assert "rowsRemoved" not in (await swept(app))["totals"]
    assert len(app.store.rows("dependents")) == rows


async def test_a_subscription_that_asks_for_patience_is_waited_for(app: LocalApp):
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
    until = app.clock.now() + timedelta(seconds=300)
    await app.services.engine.limits.throttle(SUBSCRIPTION, not_before=until)
    before = len(app.journal.calls)
    sweep = swept(app, patience_seconds=200)
    found = await sweep
    assert found["state"] == "running"
    asked = [one for one in app.journal.names()[before:] if one.startswith(("clusters.", "identities."))]
    assert asked == []


async def test_the_identity_of_a_living_linker_is_told_and_not_pruned(app: LocalApp):
    put_linker(app)
    await swept(app)
    theirs = naming.connection_id(CLUSTER, "shop", "theirs")
    place = Intent(
        connection_id=theirs,
        step="preflight",
        generation=1,
        planned={"provenance": "observed"},
        outputs={"identityId": THEIRS, "identityClientId": CLIENT},
    )
    await app.store.transact("connections", theirs, [Upsert(key="i|preflight", columns=columns(place))])
    dependent = Dependent(resource_id=THEIRS, kind="identity", connection_id=theirs, generation=1)
    await app.services.events.dependents.add(dependent)
    assert (await swept(app))["totals"]["drift"] == {"identity-missing": 1}
    assert await prunes(app, theirs) == []
    identities = app.services.engine.outside.identities
    await identities.ensure(THEIRS, location="westeurope", tags={})
    assert "drift" not in (await swept(app))["totals"]


@pytest.mark.parametrize("error", [PermanentError("row-too-large"), UnreadableRowError("of a newer version")])
async def test_one_connection_that_cannot_be_looked_at_keeps_no_other_from_it(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch, error: MooringError
):
    first, second = sorted([await connected(app), await connected(app, "orders-more")])
    app.world.assignments.clear()
    lookout = app.services.sweeping.slices.workers["subscription"].lookout  # type: ignore[attr-defined]
    real = lookout.drifts.save

    async def save(connection_id: str, *args: Any, **options: Any) -> None:
        if connection_id == first:
            raise error
        await real(connection_id, *args, **options)

    monkeypatch.setattr(lookout.drifts, "save", save)
    found = await swept(app)
    assert found["totals"]["connectionsFailed"] >= 1
    assert error.code in found["details"]
    assert (await Drifts(app.store).of(ConnectionId(second)))["subscription"].found


async def test_the_trail_to_an_identity_stays_while_identities_may_not_be_listed(app: LocalApp):
    connection_id = await connected(app)
    await app.send(delete_body(), message_id="d")
    await app.settle()

    def denied(call: Call) -> BaseException | None:
        return PermanentError("access-denied") if call.name == "identities.list" else None

    app.journal.before = denied
    await swept(app)
    kept = await Inventory(app.store).page(subscription_scope(SUBSCRIPTION), limit=10)
    assert [(one.kind, one.connection_id) for _, one in kept] == [("identity", connection_id)]
