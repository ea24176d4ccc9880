"""The whole product on in-memory ports, with a queue that a test pumps and a clock that it moves."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from handlers import timers
from shared.catalogue import catalogue
from shared.models import Operation, StepMessage
from shared.ports import SILENCE, Telemetry
from shared.services import Services, build
from shared.settings import Settings
from shared.steps.surroundings import Outside
from shared.sweeping.sweeps import SliceMessage
from shared.target_parts import COSMOS_ROLE, REDIS_POLICY
from tests.fakes.azure_world import AzureWorld
from tests.fakes.clock import VirtualClock
from tests.fakes.clusters import InMemoryClusters
from tests.fakes.databases import InMemoryDatabases
from tests.fakes.dead_letters import InMemoryDeadLetters
from tests.fakes.grants import InMemoryGrants
from tests.fakes.identities import InMemoryIdentities
from tests.fakes.journal import Journal, Recorded
from tests.fakes.live_oracle import LiveOracle
from tests.fakes.outcome_topic import InMemoryOutcomeTopic
from tests.fakes.prover import InMemoryProver
from tests.fakes.resources import InMemoryLinkers, InMemoryResources
from tests.fakes.roles import InMemoryRoles
from tests.fakes.state_store import InMemoryStateStore
from tests.fakes.step_queue import InMemoryStepQueue

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks1"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/orders"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/orders"
IDENTITY_GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-identities"
APP_CLIENT_ID = "22222222-2222-4222-8222-222222222222"

POLICY = f"""
version = 1
[[allow]]
clusters = ["{CLUSTER}"]
namespaces = ["*"]
subscriptions = ["{SUBSCRIPTION}"]
target_types = ["storage-blob", "keyvault"]
"""


@dataclasses.dataclass(slots=True)
class LocalApp:
    """Services on fakes, and what a host would do for them."""

    world: AzureWorld
    clock: VirtualClock
    store: InMemoryStateStore
    queue: InMemoryStepQueue
    topic: InMemoryOutcomeTopic
    dead_letters: InMemoryDeadLetters
    clusters: InMemoryClusters
    linkers: InMemoryLinkers
    resources: InMemoryResources
    journal: Journal
    oracle: LiveOracle
    services: Services
    policy_file: Path

    async def send(self, body: dict[str, Any] | str | bytes, *, message_id: str = "m-1") -> Any:
        """Deliver one request message and answer its record."""
        raw = json.dumps(body) if isinstance(body, dict) else body
        return await self.services.intake.receive(raw, message_id=message_id, source="queue")

    async def pump(self) -> int:
        """Handle every visible message once; returns how many there were."""
        handled = 0
        for text in self.queue.take("connection-steps"):
            message = StepMessage.model_validate_json(text)
            self.oracle.operation = message.operation
            await self.services.engine.run_one(message)
            self.oracle.operation = ""
            handled += 1
        for text in self.queue.take("sweep-slices"):
            await self.services.sweeping.slices.run_one(SliceMessage.model_validate_json(text))
            handled += 1
        for text in self.queue.take("resource-events"):
            await self.services.events.receive(text)
            handled += 1
        return handled

    async def settle(self, *, seconds: float = 1200.0, timer: bool = True) -> None:
        """Pump until nothing is due within ``seconds`` of virtual time; the timer ticks each minute."""
        until = self.clock.now() + timedelta(seconds=seconds)
        tick = self.clock.now() + timedelta(seconds=60)
        while True:
            if await self.pump():
                continue
            due = self.queue.next_due()
            following = min((one for one in (due, tick if timer else None) if one), default=None)
            if following is None or following > until:
                return
            if following > self.clock.now():
                self.clock.advance((following - self.clock.now()).total_seconds())
            if timer and self.clock.now() >= tick:
                tick += timedelta(seconds=60)
                if not (await timers.announce_again(self.services)).open and due is None:
                    return

    async def operations(self, connection_id: str) -> list[Operation]:
        """Operations of a connection, oldest first."""
        return await self.services.state.operations(connection_id)  # type: ignore[arg-type]

    async def state(self, connection_id: str) -> str:
        """State of a connection."""
        stored = await self.services.state.connection(connection_id)  # type: ignore[arg-type]
        assert stored is not None
        return stored.value.state.value

    def leftovers(self) -> dict[str, list[str]]:
        """What of ours is left in Azure, the clusters and the users rows."""
        objects = [
            f"{key[0]} {key[1]}/{key[2]}"
            for cluster in self.world.clusters.values()
            for key in cluster.objects
        ]
        return {
            "identities": sorted(self.world.identities),
            "assignments": sorted(name for _, name in (*self.world.assignments, *self.world.grants)),
            "objects": sorted(objects),
            "users": [str(row.columns["body"]) for row in self.store.rows("users")],
        }


def make_app(folder: Path, *, telemetry: Telemetry = SILENCE, **overrides: str) -> LocalApp:
    """A local app with one cluster, one storage account and one vault."""
    world, clock, journal = AzureWorld(), VirtualClock(), Journal()
    world.add_group(IDENTITY_GROUP)
    world.add_cluster(CLUSTER, namespaces=("shop",))
    world.add_resource(
        STORAGE,
        {"properties": {"primaryEndpoints": {"blob": "https://orders.blob.core.windows.net/"}}},
    )
    vault = {"vaultUri": "https://orders.vault.azure.net/", "enableRbacAuthorization": True}
    world.add_resource(VAULT, {"properties": vault})
    reads = {row.name: row.read_check.path for row in catalogue().rows if row.read_check}
    world.data_planes[f"https://orders.blob.core.windows.net/{reads['storage-blob']}"] = STORAGE
    world.data_planes[f"https://orders.vault.azure.net/{reads['keyvault']}"] = VAULT
    policy_file = folder / "policy.toml"
    policy_file.write_text(POLICY)
    settings = Settings.from_environment(
        {
            "AzureWebJobsStorage__queueServiceUri": "https://q.example",
            "AzureWebJobsStorage__tableServiceUri": "https://t.example",
            "AzureWebJobsStorage__blobServiceUri": "https://b.example",
            "MOORING_DEAD_LETTER_CONTAINER": "dead-letters",
            "AZURE_CLIENT_ID": APP_CLIENT_ID,
            "AZURE_TENANT_ID": "33333333-3333-4333-8333-333333333333",
            "MOORING_SUBSCRIPTION_IDS": SUBSCRIPTION,
            "MOORING_IDENTITY_RESOURCE_GROUP_ID": IDENTITY_GROUP,
            "MOORING_POLICY_FILE": str(policy_file),
            **overrides,
        },
    )
    store, queue, topic = InMemoryStateStore(clock), InMemoryStepQueue(clock), InMemoryOutcomeTopic()
    oracle = LiveOracle(world, store)
    journal.watch = oracle.look
    clusters, linkers = InMemoryClusters(world), InMemoryLinkers(world)
    resources, dead_letters = InMemoryResources(world), InMemoryDeadLetters()
    recorded: Any = Recorded(dead_letters, "dead_letters", journal)
    ports = {
        "identities": InMemoryIdentities(world),
        "roles": InMemoryRoles(world),
        "cosmos": InMemoryGrants(world, COSMOS_ROLE),
        "redis": InMemoryGrants(world, REDIS_POLICY),
        "databases": InMemoryDatabases(world),
        "resources": resources,
        "clusters": clusters,
        "linkers": linkers,
        "prover": InMemoryProver(world),
    }
    outside = Outside(**{name: Recorded(port, name, journal) for name, port in ports.items()})  # type: ignore[arg-type]
    services = build(
        settings,
        store=Recorded(store, "state", journal),
        queue=Recorded(queue, "queue", journal),
        topic=Recorded(topic, "topic", journal),
        outside=outside,
        clock=clock,
        dead_letters=recorded if settings.dead_letter_container else None,
        telemetry=telemetry,
    )
    return LocalApp(
        world=world,
        clock=clock,
        store=store,
        queue=queue,
        topic=topic,
        dead_letters=dead_letters,
        clusters=clusters,
        linkers=linkers,
        resources=resources,
        journal=journal,
        oracle=oracle,
        services=services,
        policy_file=policy_file,
    )


def create_body(name: str = "orders-blob", **changes: Any) -> dict[str, Any]:
    """A create request for the storage account; changes go into ``connection``."""
    connection = {
        "name": name,
        "clusterId": CLUSTER,
        "namespace": "shop",
        "workload": "orders",
        "target": {"type": "storage-blob", "id": STORAGE},
        "clientType": "python",
        **changes,
    }
    return {"action": "create", "connection": connection}


def delete_body(name: str = "orders-blob") -> dict[str, Any]:
    """A delete request by name."""
    return {"action": "delete", "connection": {"name": name, "clusterId": CLUSTER, "namespace": "shop"}}


def deletion_event(resource_id: str, event_id: str = "e-1") -> str:
    """Event Grid's event of a deleted resource."""
    return json.dumps(
        {
            "id": event_id,
            "topic": f"/subscriptions/{SUBSCRIPTION}",
            "subject": resource_id,
            "eventType": "Microsoft.Resources.ResourceDeleteSuccess",
            "eventTime": "2026-11-22T10:00:00.0000000Z",
            "data": {"resourceUri": resource_id, "status": "Succeeded", "subscriptionId": SUBSCRIPTION},
            "dataVersion": "2",
            "metadataVersion": "1",
        },
    )
