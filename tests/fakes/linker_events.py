"""A linker of Service Connector's beside a connection of ours, and the events that tell of both."""

import json

from shared import naming
from shared.ports import Linker
from tests.fakes.local_app import (
    CLUSTER,
    STORAGE,
    LocalApp,
    create_body,
    deletion_event,
)

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")
THEIRS = naming.connection_id(CLUSTER, "shop", "theirs")
LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"


def written_event(resource_id: str) -> str:
    event = json.loads(deletion_event(resource_id))
    return json.dumps({**event, "eventType": "Microsoft.Resources.ResourceWriteSuccess"})


async def created(app: LocalApp, name: str = "orders-blob", **changes: object) -> str:
    record = await app.send(create_body(name, **changes), message_id=name)
    await app.settle()
    return str(record.connection_id)


async def receive(app: LocalApp, body: str | bytes) -> list[str]:
    return await app.services.events.receive(body)


def linker(app: LocalApp, *, client_id: str = "", state: str = "Succeeded", target: str = "") -> str:
    client = app.world.guid() if client_id == "new" else client_id
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="theirs",
        namespace="shop",
        target_id=target or f"{STORAGE}/blobServices/default",
        client_id=client,
        client_type="",
        provisioning_state=state,
    )
    app.world.add_resource(LINKER)
    return client


def their_objects(app: LocalApp, client_id: str) -> None:
    app.clusters.put_object(CLUSTER, "Secret", "shop", "sc-theirs-secret")
    if client_id:
        app.clusters.put_object(CLUSTER, "ServiceAccount", "shop", f"sc-account-{client_id}")
