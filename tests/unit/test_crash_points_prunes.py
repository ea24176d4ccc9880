"""A crash at any call of a prune, for every cause that has a plan: the same end, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import naming, plans
from shared.models import Cause, Kind
from shared.opening import Asked
from shared.orphans import OrphanKind, orphan_id, record_id
from tests.fakes.crash_host import CALLS, Host
from tests.fakes.crash_points import ID, Story, nothing
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, deletion_event
from tests.fakes.their_linker import ASSIGNMENT, IDENTITY, LINKER, THEIRS, TheirLinker, make_linker
from tests.unit.test_adopt_records import adopted
from tests.unit.test_crash_points import assert_same_end_whoever_dies, created
from tests.unit.test_orphans_pruned import IDENTITY as LOST
from tests.unit.test_orphans_pruned import reported

DAY_SECONDS = 86_400.0


def tell(app: LocalApp, resource_id: str) -> None:
    app.queue.put("resource-events", deletion_event(resource_id))


def identity_of(app: LocalApp) -> str:
    [one] = app.world.identities.values()
    return one.resource_id


# --- what is deleted -------------------------------------------------------------------------------


def target(app: LocalApp) -> None:
    app.world.remove(STORAGE)
    tell(app, STORAGE)


def identity(app: LocalApp) -> None:
    gone = identity_of(app)
    app.world.remove(gone)
    tell(app, gone)


def credential(app: LocalApp) -> None:
    [(owner, found)] = app.world.credentials.items()
    name = found.popitem()[0]
    tell(app, f"{owner}/federatedIdentityCredentials/{name}")


def cluster(app: LocalApp) -> None:
    app.world.remove(CLUSTER)
    tell(app, CLUSTER)


def linker(app: LocalApp) -> None:
    app.world.remove(LINKER)
    tell(app, LINKER)


# --- what no event tells: a sweep opens it ---------------------------------------------------------


async def found(app: LocalApp, kind: str, resource_id: str) -> object:
    stored = await app.services.state.connection(ID)
    assert stored is not None
    cause = Cause(kind=kind, resource_id=resource_id, source="sweep")
    asked = Asked(
        kind=Kind.PRUNE,
        connection_id=ID,
        key=f"sweep|{kind}",
        cause=cause,
        generation=stored.value.generation,
    )
    return await app.services.orphan_pruner.opener.open(asked)


def namespace(app: LocalApp) -> None:
    stored = app.world.clusters[naming.fold_id(CLUSTER)]
    stored.namespaces.remove("shop")
    for key in [key for key in stored.objects if key[1] == "shop"]:
        del stored.objects[key]
    app.queue.put(CALLS, "")


async def missing_namespace(app: LocalApp) -> object:
    return await found(app, "namespace", f"{CLUSTER}/namespaces/shop")


async def orphaned(host: Host) -> None:
    await created(host)
    cluster(host.app)
    await host.settle()


def expiry(app: LocalApp) -> None:
    app.clock.advance(15 * DAY_SECONDS)
    app.queue.put(CALLS, "")


async def expired(app: LocalApp) -> object:
    return await found(app, "expiry", CLUSTER)


# --- what is Service Connector's ---------------------------------------------------------------------


async def observed(host: Host) -> None:
    make_linker(host.app)
    assert await host.app.services.events.observer.observe(LINKER, tries=0) == "observed"


async def taken_over(host: Host) -> None:
    make_linker(host.app)
    assert (await adopted(host.app)).outcome == "opened"


def their_linker(app: LocalApp) -> None:
    """Service Connector deletes it and leaves the credential."""
    TheirLinker(app, next(iter(app.world.identities.values()))).delete(credential=False)
    tell(app, LINKER)


# --- orphans -----------------------------------------------------------------------------------------


def orphan(kind: OrphanKind, **place: str) -> Story:
    """Something that nobody on record owns, named by a person."""

    async def stands(host: Host) -> None:
        made = await reported(host.app, kind)
        assert record_id(made.orphan_id) == record_id(of)

    async def prune(app: LocalApp) -> object:
        return await app.services.orphan_pruner.prune(of, key="k")

    of = orphan_id(kind, **{"cluster_id": "", "namespace": "", "resource_id": "", **place})
    left = {"identities": [naming.fold_id(LOST)]} if kind is OrphanKind.CREDENTIAL else {}
    return Story(
        before=stands,
        begins=lambda app: app.queue.put(CALLS, ""),
        called=prune,
        ends="pruned",
        last=nothing,
        connection_id=record_id(of),
        left=left,
    )


PLACE = {"cluster_id": CLUSTER, "namespace": "shop"}
CREDENTIAL = f"{LOST}/federatedIdentityCredentials/old"
THEIR_IDENTITY = {"identities": [naming.fold_id(IDENTITY)]}
STORIES = {
    "target": Story(before=created, begins=target, ends="pruned"),
    "identity": Story(before=created, begins=identity, ends="pruned"),
    "credential": Story(before=created, begins=credential, ends="orphaned"),
    "cluster": Story(before=created, begins=cluster, ends="orphaned"),
    "namespace": Story(before=created, begins=namespace, called=missing_namespace, ends="pruned"),
    "expiry": Story(before=orphaned, begins=expiry, called=expired, ends="pruned"),
    "linker": Story(
        before=observed,
        begins=linker,
        ends="pruned",
        last=nothing,
        connection_id=THEIRS,
        left={**THEIR_IDENTITY, "assignments": [ASSIGNMENT]},
    ),
    "linker, adopted": Story(
        before=taken_over,
        begins=their_linker,
        ends="pruned",
        last=nothing,
        connection_id=THEIRS,
        left=THEIR_IDENTITY,
    ),
    "orphan, secret": orphan(OrphanKind.SECRET, name="sc-lost-secret", **PLACE),
    "orphan, account": orphan(OrphanKind.SERVICE_ACCOUNT, name="sc-account-lost", **PLACE),
    "orphan, identity": orphan(OrphanKind.IDENTITY, name="mooring-lost", resource_id=LOST),
    "orphan, credential": orphan(OrphanKind.CREDENTIAL, name="old", resource_id=CREDENTIAL),
}


def test_every_cause_that_has_a_plan_has_a_story():
    assert {name.partition(",")[0] for name in STORIES} == set(plans.PRUNED_BY_CAUSE)


@pytest.mark.parametrize("name", STORIES)
async def test_a_crash_at_any_call_of_a_prune_leads_to_the_same_end(tmp_path: Path, name: str):
    story = STORIES[name]
    ended = await assert_same_end_whoever_dies(story, tmp_path)
    assert ended["operations"][-1] == ("prune", "succeeded")
    assert (ended["objects"], ended["active"]) == ([], ())
    kept = "identity" if ended["state"] == "orphaned" or story.left else ""
    assert bool(ended["identities"]) is bool(kept)
