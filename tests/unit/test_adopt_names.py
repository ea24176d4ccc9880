"""What was adopted under a name of ours goes only if the record knows it as ours: a name is no proof."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from shared import left_rows, naming
from shared.errors import StateConflictError
from shared.models import Connection, Operation
from tests.fakes.linker_events import receive
from tests.fakes.local_app import CLUSTER, GROUP, LocalApp, create_body, delete_body, deletion_event, make_app
from tests.fakes.recoveries import lose_tables, outcomes, recovered
from tests.fakes.their_linker import IDENTITY, LINKER, SECRET, THEIRS, make_linker
from tests.unit.test_left_rows import access

OURS = naming.connection_id(CLUSTER, "shop", "orders-blob")
KEY = naming.fold_id(IDENTITY)


async def ours_below_theirs(app: LocalApp, namespace: str = "shop") -> None:
    """Ours through a team's identity, and a linker of the same identity and target on top of it."""
    made = make_linker(app)
    app.policy_file.write_text(app.policy_file.read_text().replace('["shop"]', '["*"]'))
    world, objects = app.world, app.world.clusters[naming.fold_id(CLUSTER)].objects
    world.clusters[naming.fold_id(CLUSTER)].namespaces.add(namespace)
    linker = world.linkers.pop(naming.fold_id(LINKER))
    world.assignments.clear()
    if namespace == "shop":
        world.credentials[KEY].clear()
        del objects["ServiceAccount", "shop", made.account]
    secret = objects.pop(("Secret", "shop", SECRET))
    await app.send(create_body(identityId=IDENTITY, namespace=namespace), message_id="ours")
    await app.settle()
    assert await app.state(naming.connection_id(CLUSTER, namespace, "orders-blob")) == "configured"
    world.linkers[naming.fold_id(LINKER)] = linker
    objects["Secret", "shop", SECRET] = secret


async def adopted(app: LocalApp) -> None:
    record = await app.send({"action": "adopt", "linkerId": LINKER}, message_id="adopt")
    assert record.outcome == "opened"
    await app.settle()


async def gone(app: LocalApp, resource_id: str = LINKER) -> Operation:
    app.world.remove(resource_id)
    await receive(app, deletion_event(resource_id))
    await app.settle(seconds=7200)
    return (await app.operations(THEIRS))[-1]


async def kept(app: LocalApp, operation: Operation) -> dict[str, list[Mapping[str, Any]]]:
    snapshot = await app.services.state.load(operation.operation_id)
    assert snapshot is not None
    outputs = {name: stored.value.outputs for name, stored in snapshot.steps.items()}
    return {name: list(known["kept"]) for name, known in outputs.items() if known.get("kept")}


@pytest.mark.parametrize("recovers", [False, True])
async def test_a_role_under_our_name_stays_if_whoever_it_was_made_for_is_not_on_record(
    app: LocalApp, recovers: bool
):
    await ours_below_theirs(app, "pay")
    [role] = app.world.assignments
    lose_tables(app)
    if recovers:
        secret = app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "pay", "sc-ordersblob-secret"]
        secret.annotations.clear()
        assert set(outcomes(await recovered(app)).values()) == {"no-inscription"}
    await adopted(app)
    operation = await gone(app)
    assert await app.state(THEIRS) == "pruned"
    assert [*app.world.assignments] == [role]
    [said] = (await kept(app, operation))["role_assignments"]
    assert said["rule"] == "still-relied-on"
    assert "az role assignment delete --ids" in said["detail"]
    assert app.leftovers()["users"] == []


async def test_a_credential_under_our_name_stays_if_whoever_it_was_made_for_is_not_on_record(app: LocalApp):
    await ours_below_theirs(app)
    [name] = app.world.credentials[KEY]
    lose_tables(app)
    await adopted(app)
    operation = await gone(app)
    assert [*app.world.credentials[KEY]] == [name]
    [said] = (await kept(app, operation))["federated_credential"]
    assert said["rule"] == "still-relied-on"
    group = GROUP.rsplit("/", 1)[-1].lower()
    command = f"delete --name {name} --identity-name id-theirs --resource-group {group}"
    assert command in said["detail"]
    assert app.leftovers()["users"] == []


async def test_a_credential_under_our_name_that_is_gone_already_is_not_said_to_stay(app: LocalApp):
    await ours_below_theirs(app)
    lose_tables(app)
    await adopted(app)
    app.world.credentials[KEY].clear()
    assert "federated_credential" not in await kept(app, await gone(app))


async def test_in_report_mode_a_credential_under_our_name_is_said_to_stay(tmp_path: Any):
    app = make_app(tmp_path, MOORING_PRUNE_MODE="report")
    await ours_below_theirs(app)
    lose_tables(app)
    await adopted(app)
    said = await kept(app, await gone(app))
    rules = [one["rule"] for step in ("role_assignments", "federated_credential") for one in said[step]]
    assert rules == ["still-relied-on"] * 2
    assert access(app) == (1, 1)


async def test_a_credential_under_our_name_goes_with_its_cluster_since_nobody_gets_in_by_it(app: LocalApp):
    await ours_below_theirs(app)
    lose_tables(app)
    await adopted(app)
    app.world.add_cluster(f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks2")
    app.world.remove(CLUSTER)
    await gone(app, CLUSTER)
    assert await app.state(THEIRS) == "pruned"
    assert access(app) == (1, 0)


async def test_what_ours_left_before_the_prune_of_the_linker_goes_with_that(app: LocalApp):
    """Nothing was left to the linker, which was gone already: that ours used it is all that tells."""
    await ours_below_theirs(app)
    await adopted(app)
    app.world.remove(LINKER)
    await app.send(delete_body(), message_id="delete")
    await app.settle(seconds=3600)
    assert (await app.state(OURS), access(app)) == ("deleted", (1, 1))
    await gone(app)
    assert await app.state(THEIRS) == "pruned"
    assert access(app) == (0, 0)
    assert app.leftovers()["users"] == []


@pytest.mark.parametrize("changes", [{"generation": 2}, {"linker_id": "/another"}])
async def test_who_has_left_proves_nothing_if_that_life_was_not_ours(app: LocalApp, changes: dict[str, Any]):
    await ours_below_theirs(app)
    await adopted(app)
    app.world.remove(LINKER)
    await app.send(delete_body(), message_id="delete")
    await app.settle(seconds=3600)
    stored = await app.services.state.connection(OURS)
    assert stored is not None
    another = stored.value.model_copy(update=changes)
    await app.services.state.observe(another, [], etag=stored.etag)
    said = await kept(app, await gone(app))
    assert {"role_assignments", "federated_credential"} <= said.keys()
    assert access(app) == (1, 1)


async def test_a_role_that_is_to_be_left_to_another_linker_is_known_as_ours_in_the_next_try_too(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    """The users row is all that tells: it does not go before another has joined it."""
    await ours_below_theirs(app)
    await adopted(app)
    key, second = naming.fold_id(LINKER), LINKER.replace("their_blob", "second")
    other = dataclasses.replace(app.world.linkers[key], resource_id=second, name="second")
    app.world.remove(LINKER)
    await app.send(delete_body(), message_id="delete")
    await app.settle(seconds=3600)
    app.world.linkers[naming.fold_id(second)] = other
    app.world.add_resource(second)
    leave_to, tries = left_rows.leave_to, []

    async def failing_once(*args: Any, **named: Any) -> Connection:
        tries.append(1)
        if len(tries) == 1:
            raise StateConflictError("row of what is left to a linker")
        return await leave_to(*args, **named)

    monkeypatch.setattr(left_rows, "leave_to", failing_once)
    [said] = (await kept(app, await gone(app)))["role_assignments"]
    assert (said["rule"], len(app.world.assignments)) == ("live-linker", 1)
    assert len(tries) > 1
    await gone(app, second)
    assert app.world.assignments == {}
