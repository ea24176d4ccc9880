"""A connection that is updated again and again does not outgrow its row."""

from typing import Any

from shared import naming
from shared.models import ConnectionId
from shared.ports import Linker
from shared.steps.role_assignments import EARLIER_PLANS
from tests.fakes.local_app import STORAGE, LocalApp, create_body, delete_body
from tests.fakes.sweeps import connected
from tests.fakes.their_linker import LINKER
from tests.unit.test_update import EMPTY, ID, last, roles

TIMES = 4 * EARLIER_PLANS


def container(number: int) -> str:
    return f"{STORAGE}/blobServices/default/containers/orders{number}"


async def updated(app: LocalApp, number: int) -> None:
    target = {"type": "storage-blob", "id": container(number)}
    app.world.add_resource(container(number))
    body: dict[str, Any] = {**create_body(target=target), "action": "update"}
    await app.send(body, message_id=f"update-{number}")
    await app.settle()
    assert (await last(app))[0] == "succeeded"


async def plans(app: LocalApp) -> int:
    return len((await app.services.state.intents(ConnectionId(ID)))["role_assignments"].plans())


async def test_what_was_planned_long_ago_and_is_revoked_leaves_the_row(app: LocalApp):
    await connected(app)
    for number in range(TIMES):
        await updated(app, number)
    assert roles(app) == {(container(TIMES - 1), "Storage Blob Data Contributor")}
    assert await plans(app) == EARLIER_PLANS + 1
    await app.send(delete_body(), message_id="delete")
    await app.settle()
    assert app.leftovers() == EMPTY


async def test_a_plan_whose_role_stays_for_a_linker_is_looked_at_to_the_end(app: LocalApp):
    await connected(app)
    await updated(app, 0)
    [identity] = app.world.identities.values()
    linker = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace="shop",
        target_id=container(0),
        client_id=identity.client_id,
        client_type="none",
        provisioning_state="Succeeded",
    )
    app.world.linkers[naming.fold_id(LINKER)] = linker
    for number in range(1, EARLIER_PLANS + 3):
        await updated(app, number)
    assert (container(0), "Storage Blob Data Contributor") in roles(app)
    assert await plans(app) == EARLIER_PLANS + 4
    del app.world.linkers[naming.fold_id(LINKER)]
    await app.send(delete_body(), message_id="delete")
    await app.settle(seconds=4000)
    assert app.leftovers() == EMPTY
