"""A sweep in the in-memory app: begin it, pump its slices and nothing else, look at the result."""

from __future__ import annotations

from typing import Any

from shared import naming
from shared.ports import Identity, Linker
from shared.sweeping import shown
from shared.sweeping.sweeps import Slice, SliceMessage, SliceState, Sweeps
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, LocalApp, create_body

CLIENT = "44444444-4444-4444-8444-444444444444"


async def connected(app: LocalApp, name: str = "orders-blob", **changes: Any) -> str:
    """A connection that is made; returns its id."""
    record = await app.send(create_body(name, **changes), message_id=name)
    await app.settle()
    assert await app.state(record.connection_id) == "configured"
    return str(record.connection_id)


async def begun(app: LocalApp) -> str:
    """Begin a sweep; returns its id."""
    sweep, _ = await app.services.sweeping.sweeper.start(asked_by="request")
    return sweep.sweep_id


async def pumped(app: LocalApp) -> int:
    """Run every slice that is due once; returns how many messages there were."""
    texts = app.queue.take("sweep-slices")
    for text in texts:
        await app.services.sweeping.slices.run_one(SliceMessage.model_validate_json(text))
    return len(texts)


async def swept(app: LocalApp, *, patience_seconds: float = 3600.0) -> dict[str, Any]:
    """A whole sweep, waits included; steps are not carried out meanwhile."""
    sweep_id = await begun(app)
    end = app.clock.now().timestamp() + patience_seconds
    while app.clock.now().timestamp() < end:
        if await pumped(app):
            continue
        if (await result(app, sweep_id))["state"] != "running":
            break
        app.clock.advance(10)
    return await result(app, sweep_id)


async def result(app: LocalApp, sweep_id: str) -> dict[str, Any]:
    """The sweep as HTTP shows it."""
    stored = await Sweeps(app.store).get(sweep_id)
    assert stored is not None
    return shown.sweep(stored.value, await slices(app, sweep_id), base_url="")


async def slices(app: LocalApp, sweep_id: str) -> list[Slice]:
    """The slices of a sweep."""
    return [one.value for one in await Sweeps(app.store).slices(sweep_id)]


async def slice_of(app: LocalApp, sweep_id: str, kind: str) -> Slice:
    """The first slice of a kind that has not ended, else the first."""
    found = [one for one in await slices(app, sweep_id) if one.kind == kind]
    return next((one for one in found if one.state is not SliceState.DONE), found[0])


async def prunes(app: LocalApp, connection_id: str) -> list[tuple[str, str]]:
    """Cause and source of every prune of a connection."""
    found = [one.cause for one in await app.operations(connection_id)]
    return [(one.kind, one.source) for one in found if one is not None]


def put_linker(app: LocalApp, name: str = "theirs", client_id: str = CLIENT) -> str:
    """A living connection of Service Connector with its objects; returns its id."""
    linker_id = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/{name}"
    app.world.linkers[naming.fold_id(linker_id)] = Linker(
        resource_id=linker_id,
        name=name,
        namespace="shop",
        target_id=STORAGE,
        client_id=client_id,
        client_type="none",
        provisioning_state="Succeeded",
    )
    app.clusters.put_object(CLUSTER, "Secret", "shop", f"sc-{naming.fold_name(name)}-secret")
    if client_id and app.world.identity_of(client_id) is None:
        identity_id = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-{client_id}"
        app.world.identities[naming.fold_id(identity_id)] = Identity(
            resource_id=identity_id,
            client_id=client_id,
            principal_id=app.world.guid(),
            location="westeurope",
            tags={},
        )
    if client_id:
        app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{client_id}")
    return linker_id
