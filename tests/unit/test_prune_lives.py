"""Prunes of one connection beside each other and after each other: every one ends, and the world is right."""

from pathlib import Path

from shared import naming
from shared.models import Kind
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    SUBSCRIPTION,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
    make_app,
)

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
KEY = naming.fold_id(CLUSTER)


async def created(app: LocalApp) -> None:
    await app.send(create_body(), message_id="made")
    await app.settle()
    assert await app.state(ID) == "configured"


async def test_a_second_life_is_pruned_like_the_first(app: LocalApp):
    await created(app)
    await app.send(delete_body(), message_id="gone")
    await app.settle()
    await app.send(create_body(), message_id="second")
    await app.settle()
    app.world.remove(STORAGE)
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle(seconds=20 * 86_400)
    assert await app.state(ID) == "pruned", "rows of the first life must not hide the second"
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_everything_of_a_group_deleted_one_after_another_is_pruned_and_nothing_waits_for_ever(
    tmp_path: Path,
):
    app = make_app(tmp_path)
    await created(app)
    witness = (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other/providers/Microsoft.Storage/storageAccounts/w"
    )
    app.world.add_resource(witness)
    identity = next(iter(app.world.identities))
    group = naming.resource_group_of(STORAGE)
    for number, gone in enumerate((STORAGE, CLUSTER, identity, group)):
        app.world.remove(gone)
        await app.services.events.receive(deletion_event(gone, f"e-{number}"))
        await app.settle(seconds=5, timer=False)
    await app.settle(seconds=3 * 86_400)
    assert {one.state.value for one in await app.operations(ID)} == {"succeeded"}
    assert await app.state(ID) in {"pruned", "orphaned"}


async def test_two_causes_and_a_stray_third_end_in_one_prune(tmp_path: Path):
    app = make_app(tmp_path, MOORING_PRUNE_GRACE_SECONDS="0")
    await created(app)
    identity = next(iter(app.world.identities))
    for number, gone in enumerate((STORAGE, identity, CLUSTER)):
        if gone != CLUSTER:
            app.world.remove(gone)
        await app.services.events.receive(deletion_event(gone, f"e-{number}"))
        await app.settle(seconds=5, timer=False)
    await app.settle(seconds=86_400)
    assert await app.state(ID) == "pruned"
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_many_events_of_one_cause_open_one_prune(app: LocalApp):
    await created(app)
    identity = next(iter(app.world.identities))
    app.world.remove(STORAGE)
    await app.services.events.receive(deletion_event(STORAGE))
    app.world.remove(identity)
    for number in range(5):
        await app.services.events.receive(deletion_event(identity, f"i-{number}"))
    prunes = [one for one in await app.operations(ID) if one.kind is Kind.PRUNE]
    assert len(prunes) == 2


async def test_what_an_orphan_kept_is_still_known_to_the_delete_that_follows(app: LocalApp):
    await created(app)
    thing = app.world.clusters[KEY].objects["Secret", "shop", "sc-ordersblob-secret"]
    thing.annotations["mooring.dev/keep"] = "true"
    identity = next(iter(app.world.identities))
    name = next(iter(app.world.credentials[identity]))
    app.world.credentials[identity].clear()
    await app.services.events.receive(deletion_event(f"{identity}/federatedIdentityCredentials/{name}"))
    await app.settle(seconds=3600)
    assert await app.state(ID) == "orphaned"
    assert "Secret shop/sc-ordersblob-secret" in app.leftovers()["objects"]
    await app.send(delete_body(), message_id="gone")
    await app.settle(seconds=3600)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}
