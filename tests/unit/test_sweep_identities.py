"""Identities and credentials that nobody on record owns."""

import dataclasses
from pathlib import Path

import pytest

from shared import evidence, naming
from shared.inventory import Inventory
from shared.orphans import Orphans
from shared.ports import Credential
from shared.users import Shared, User
from tests.fakes.journal import Call
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    IDENTITY_GROUP,
    LocalApp,
    delete_body,
    make_app,
)
from tests.fakes.sweeps import connected, swept

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
THEIRS = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/theirs"


def identity_of(app: LocalApp) -> str:
    return next(iter(app.world.identities))


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


async def test_an_identity_that_an_ended_connection_has_left_is_pruned_and_no_other(app: LocalApp):
    await connected(app)
    identity = app.world.identities[identity_of(app)]
    await app.send(delete_body(), message_id="d")
    await app.settle()
    left = naming.fold_id(identity.resource_id)
    app.world.identities[left] = identity  # a write that landed late
    other = f"{identity.resource_id}-other"
    app.world.identities[naming.fold_id(other)] = dataclasses.replace(identity, resource_id=other)
    found = await swept(app)
    assert found["totals"]["orphans"] == {"identity": {"new": 2}}
    assert found["totals"]["prunes"] == {"orphan": 1}
    orphan = next(one for one in await Orphans(app.store).list() if naming.fold_id(one.resource_id) == left)
    assert orphan.evidence["connections"] == {ID: "deleted"}
    assert orphan.prune
    app.clock.advance(3600)
    assert (await swept(app))["totals"]["orphans"] == {"identity": {"known": 2}}  # its prune has not run
    await app.settle()
    assert set(app.world.identities) == {naming.fold_id(other)}
    app.clock.advance(3600)
    assert (await swept(app))["totals"]["orphans"] == {"identity": {"gone": 1, "known": 1}}


async def test_what_a_sweep_prunes_is_on_record_as_the_sweeps(app: LocalApp):
    await connected(app)
    identity = app.world.identities[identity_of(app)]
    await app.send(delete_body(), message_id="d")
    await app.settle()
    app.world.identities[naming.fold_id(identity.resource_id)] = identity
    await swept(app)
    [entry] = await app.services.prunes.of_month(f"{app.clock.now():%Y-%m}")
    assert (entry.cause, entry.source) == ("orphan", "sweep")
    await app.settle()
    stored = await app.services.state.operation(entry.operation_id)
    assert stored is not None
    assert evidence.listed(entry, stored.value, base_url="")["rule"] == "last-user"


async def test_an_orphan_whose_prune_was_a_report_stays_an_orphan(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_MODE="report")
    unused = f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mooring-old"
    identities = app.services.engine.outside.identities
    await identities.ensure(unused, location="westeurope", tags={"mooring-workload": "abc"})
    await swept(app)
    [orphan] = await Orphans(app.store).list()
    await app.services.orphan_pruner.prune(orphan.orphan_id, key="k")
    for seconds in (0, 3600):
        await app.settle()
        app.clock.advance(seconds)
        assert (await swept(app))["totals"]["orphans"] == {"identity": {"known": 1}}


async def test_what_a_living_connection_uses_by_now_is_not_pruned_as_left_behind(app: LocalApp):
    await connected(app)
    identity = app.world.identities[identity_of(app)]
    await app.send(delete_body(), message_id="d")
    await app.settle()
    app.world.identities[naming.fold_id(identity.resource_id)] = identity

    def joined(call: Call) -> None:
        if call.name == "identities.get":
            app.journal.before = None
            user = User(connection_id=ID, generation=2)
            shared = Shared(thing=f"identity|{naming.fold_id(identity.resource_id)}", users=(user,))
            pending.append(shared)

    pending: list[Shared] = []
    app.journal.before = joined
    users = app.services.engine.users
    get = users.get

    async def after_the_look(thing: str) -> Shared | None:
        return pending[0] if pending else await get(thing)

    object.__setattr__(users, "get", after_the_look)
    found = await swept(app)
    assert found["details"] == {"orphan-owned": 1}
    await app.settle()
    assert naming.fold_id(identity.resource_id) in app.world.identities


async def test_each_identity_is_asked_for_its_credentials_once_whatever_is_looked_for(app: LocalApp):
    for name in ("orders-blob", "orders-second"):
        await connected(app, name, workload=name)
    dead = app.world.clusters[naming.fold_id(CLUSTER)].described.issuer
    await Inventory(app.store).saw_issuer(CLUSTER, dead)
    await Inventory(app.store).saw_issuer(CLUSTER, "https://new/")
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, issuer="https://new/")
    identities = app.services.engine.outside.identities
    await identities.ensure(THEIRS, location="westeurope", tags={})
    before = app.journal.names().count("identities.list_credentials")
    found = await swept(app)
    assert app.journal.names().count("identities.list_credentials") == before + 3
    assert found["totals"]["prunes"] == {"cluster": 2}
    assert found["totals"]["prunesKnown"] == 2
