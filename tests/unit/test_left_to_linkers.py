"""A run left something to a linker and died before it could say so; when it runs again the linker is gone."""

import pytest

from shared import naming
from shared.errors import NotYetError
from shared.models import Kind
from shared.ports import Linker
from shared.steps.base import credential_thing, role_thing
from shared.users import User
from tests.fakes.local_app import CLUSTER, STORAGE, LocalApp, deletion_event
from tests.fakes.step_bench import Bench

LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"
STEPS = ("role_assignments", "federated_credential")


async def made(app: LocalApp) -> Bench:
    """A connection, and a living linker that works through its identity; a delete has begun."""
    bench = Bench(app)
    for step in STEPS:
        await bench.up_to(step)
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace="shop",
        target_id=f"{STORAGE}/blobServices/default",
        client_id=str(bench.intents["managed_identity"].outputs["clientId"]),
        client_type="none",
        provisioning_state="Succeeded",
    )
    bench.become(Kind.DELETE)
    return bench


def there(app: LocalApp, step: str) -> int:
    """How many of a step's things there are."""
    if step == "role_assignments":
        return len(app.world.assignments)
    return sum(len(names) for names in app.world.credentials.values())


def thing(bench: Bench, step: str) -> str:
    """Name of a step's users row."""
    planned = bench.intents[step].planned
    if step == "role_assignments":
        return role_thing(planned["assignments"][0])
    return credential_thing(planned["identityId"], planned["issuer"], planned["subject"])


@pytest.mark.parametrize("step", STEPS)
async def test_what_was_left_stays_left_and_goes_with_the_prune_of_the_linker(app: LocalApp, step: str):
    bench = await made(app)
    [kept] = (await bench.revert(step)).outputs["kept"]
    assert (kept["rule"], there(app, step)) == ("live-linker", 1)
    app.world.linkers.clear()
    [kept] = (await bench.revert(step)).outputs["kept"]
    assert (kept["rule"], there(app, step)) == ("still-shared", 1)
    app.queue.put("resource-events", deletion_event(LINKER))
    await app.settle()
    assert there(app, step) == 0
    assert await bench.app.services.engine.users.get(thing(bench, step)) is None


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("whose", ["on record", "a newcomer's"])
async def test_what_somebody_holds_by_then_stays(app: LocalApp, step: str, whose: str):
    bench = await made(app)
    await bench.revert(step)
    app.world.linkers.clear()
    identity_id = str(bench.intents["managed_identity"].planned["resourceId"])
    if whose == "on record":
        other_user = User(connection_id=naming.connection_id(CLUSTER, "shop", "other"), generation=1)
        bench.held_by_others[naming.fold_id(identity_id)] = {thing(bench, step): {other_user: True}}
    else:
        other = Bench(app, "orders-more")
        await other.up_to(step)
    await bench.revert(step)
    assert there(app, step) == 1


@pytest.mark.parametrize("step", STEPS)
async def test_a_run_that_comes_again_looks_once_and_removes_nothing_twice(app: LocalApp, step: str):
    bench = await made(app)
    app.world.linkers.clear()
    await bench.revert(step)
    before = len(app.journal.calls)
    await bench.revert(step)
    assert [name for name in app.journal.names()[before:] if "delete" in name] == []


@pytest.mark.parametrize("removals", [True, False])
@pytest.mark.parametrize("step", STEPS)
async def test_nothing_is_left_to_who_holds_it_while_a_lost_write_or_delete_may_land(
    app: LocalApp, step: str, removals: bool
):
    bench = await made(app)
    app.world.linkers.clear()
    identity_id = str(bench.intents["managed_identity"].planned["resourceId"])
    other = User(connection_id=naming.connection_id(CLUSTER, "shop", "other"), generation=1)
    bench.held_by_others[naming.fold_id(identity_id)] = {thing(bench, step): {other: True}}
    bench.in_doubt_seconds, bench.removals_in_doubt = 7.5, removals
    with pytest.raises(NotYetError, match="settle") as waits:
        await bench.revert(step)
    assert waits.value.seconds == 7.5
    bench.in_doubt_seconds = 0.0
    [kept] = (await bench.revert(step)).outputs["kept"]
    assert (kept["rule"], there(app, step)) == ("still-shared", 1)
    row = await app.services.engine.users.get(thing(bench, step))
    assert row is not None
    assert (row.users, row.closing) == ((other,), "")
