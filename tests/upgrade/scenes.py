"""Scenes that are recorded: each leaves an app in the middle of some work."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from shared import naming
from shared.models import StepMessage
from shared.ports import Linker
from shared.sweeping.sweeps import SliceMessage
from tests.fakes.local_app import (
    CLUSTER,
    GROUP,
    STORAGE,
    VAULT,
    LocalApp,
    create_body,
    delete_body,
    deletion_event,
)

OTHER = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/canary"
CLIENT = "44444444-4444-4444-8444-444444444444"
ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


async def steps(app: LocalApp, count: int) -> None:
    """Carry out so many step messages, one at a time; what is not due yet is waited for."""
    done = 0
    while done < count:
        texts = app.queue.take("connection-steps")
        if not texts:
            due = app.queue.next_due()
            assert due is not None
            app.clock.advance((due - app.clock.now()).total_seconds())
            continue
        for text in texts:
            if done < count:
                await app.services.engine.run_one(StepMessage.model_validate_json(text))
                done += 1
            else:
                app.queue.put("connection-steps", text)


async def made(app: LocalApp, name: str = "orders-blob", **changes: Any) -> None:
    await app.send(create_body(name, **changes), message_id=name)
    await app.settle()


async def create_in_the_middle(app: LocalApp) -> None:
    """Preflight and identity are done; the four that run side by side are announced, one is done."""
    await app.send(create_body(), message_id="m-create")
    await steps(app, 3)


async def create_whose_host_died(app: LocalApp) -> None:
    """The run of a step died after its write: its lease is live, its intent saved, its outcome not."""
    await app.send(create_body(), message_id="m-create")
    await steps(app, 2)

    class Died(BaseException):
        pass

    app.journal.after = lambda call: Died() if call.name == "roles.ensure" else None
    try:
        await steps(app, 4)
    except Died:
        app.journal.after = None


async def delete_in_the_middle(app: LocalApp) -> None:
    """Access is taken, cluster objects and identity are there; another connection shares the workload."""
    await made(app)
    await made(app, "orders-keys", target={"type": "keyvault", "id": VAULT})
    await app.send(delete_body(), message_id="m-delete")
    await steps(app, 3)


async def create_behind_a_delete(app: LocalApp) -> None:
    """The same connection is wanted again while it is being deleted."""
    await made(app)
    await app.send(delete_body(), message_id="m-delete")
    await steps(app, 2)
    await app.send(create_body(), message_id="m-again")
    await steps(app, 1)


async def last_user_leaves(app: LocalApp) -> None:
    """A delete has marked the shared things as closing, and a newcomer waits for that."""
    await made(app)
    await app.send(delete_body(), message_id="m-delete")
    await steps(app, 2)
    await app.send(create_body("orders-more"), message_id="m-more")
    await steps(app, 3)


async def prune_before_its_second_look(app: LocalApp) -> None:
    """The target was seen to be gone once."""
    app.world.add_resource(
        OTHER, {"properties": {"primaryEndpoints": {"blob": "https://canary.blob.core.windows.net/"}}}
    )
    await made(app)
    await made(app, "canary", workload="canary", target={"type": "storage-blob", "id": OTHER})
    app.world.remove(STORAGE)
    await app.services.events.receive(deletion_event(STORAGE))
    await steps(app, 1)


async def prune_held_by_a_pod(app: LocalApp) -> None:
    """Access is revoked; a pod still uses the secret."""
    app.world.add_resource(
        OTHER, {"properties": {"primaryEndpoints": {"blob": "https://canary.blob.core.windows.net/"}}}
    )
    await made(app)
    await made(app, "canary", workload="canary", target={"type": "storage-blob", "id": OTHER})
    reads = {"containers": [{"name": "app", "envFrom": [{"secretRef": {"name": "sc-ordersblob-secret"}}]}]}
    app.clusters.put_pod(CLUSTER, "shop", "orders", reads)
    app.world.remove(STORAGE)
    await app.services.events.receive(deletion_event(STORAGE))
    await app.settle(seconds=400.0)


async def prune_in_its_grace(app: LocalApp) -> None:
    """The vault can still be recovered."""
    other = f"{GROUP}/providers/Microsoft.KeyVault/vaults/canary"
    body = {"vaultUri": "https://canary.vault.azure.net/", "enableRbacAuthorization": True}
    app.world.add_resource(other, {"properties": body})
    await made(app, target={"type": "keyvault", "id": VAULT})
    await made(app, "canary", workload="canary", target={"type": "keyvault", "id": other})
    app.world.remove(VAULT)
    await app.services.events.receive(deletion_event(VAULT))
    await app.settle(seconds=400.0)


async def repair_in_the_middle(app: LocalApp) -> None:
    """The secret was deleted by hand and is not made anew yet."""
    await made(app)
    del app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", "sc-ordersblob-secret"]
    await app.send({"action": "repair", "connectionId": ID}, message_id="m-repair")
    await steps(app, 2)


async def validation_in_the_middle(app: LocalApp) -> None:
    """Some findings are there."""
    await made(app)
    await app.send({"action": "validate", "connectionId": ID}, message_id="m-validate")
    await steps(app, 3)


async def linker_on_record(app: LocalApp) -> None:
    """A connection of Service Connector is on record; it was deleted, and the event waits in the queue."""
    linker_id = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"
    app.world.linkers[naming.fold_id(linker_id)] = Linker(
        resource_id=linker_id,
        name="theirs",
        namespace="shop",
        target_id=STORAGE,
        client_id=CLIENT,
        client_type="none",
        provisioning_state="Succeeded",
    )
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{CLIENT}")
    assert await app.services.events.observer.observe(linker_id, tries=0) == "observed"
    del app.world.linkers[naming.fold_id(linker_id)]
    app.queue.put("resource-events", deletion_event(linker_id, "e-linker"))


async def sweep_in_the_middle(app: LocalApp) -> None:
    """One slice has ended, others are announced; the target is gone and nobody has told."""
    app.world.add_resource(
        OTHER, {"properties": {"primaryEndpoints": {"blob": "https://canary.blob.core.windows.net/"}}}
    )
    await made(app)
    await made(app, "canary", workload="canary", target={"type": "storage-blob", "id": OTHER})
    app.world.remove(STORAGE)
    await app.services.sweeping.sweeper.start(asked_by="request")
    first, *rest = app.queue.take("sweep-slices")
    await app.services.sweeping.slices.run_one(SliceMessage.model_validate_json(first))
    for text in rest:
        app.queue.put("sweep-slices", text)


async def requests_in_the_queue(app: LocalApp) -> None:
    """A create and a delete that nobody has taken yet."""
    await made(app, "orders-keys", target={"type": "keyvault", "id": VAULT})
    app.queue.put("connection-requests", json.dumps({**create_body(), "requestId": "waiting-1"}))
    app.queue.put("connection-requests", json.dumps({**delete_body("orders-keys"), "requestId": "waiting-2"}))


SCENES: tuple[Callable[[LocalApp], Awaitable[None]], ...] = (
    create_in_the_middle,
    create_whose_host_died,
    delete_in_the_middle,
    create_behind_a_delete,
    last_user_leaves,
    prune_before_its_second_look,
    prune_held_by_a_pod,
    prune_in_its_grace,
    repair_in_the_middle,
    validation_in_the_middle,
    linker_on_record,
    sweep_in_the_middle,
    requests_in_the_queue,
)
_GRACE = "MOORING_PRUNE_GRACE_SECONDS"
SETTINGS = {
    "prune_before_its_second_look": {_GRACE: "0"},
    "prune_held_by_a_pod": {_GRACE: "0"},
    "prune_in_its_grace": {_GRACE: "10800"},
    "sweep_in_the_middle": {_GRACE: "0"},
}
"""Of scenes that need others than the default."""
