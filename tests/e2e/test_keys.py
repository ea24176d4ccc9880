"""Every target that has keys is connected by one, and no key stands anywhere but in its secret."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables.aio import TableServiceClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient
from azure.storage.queue.aio import QueueServiceClient

from shared import naming, templates
from shared.catalogue import catalogue
from shared.facts import at
from shared.target_parts import KeySource
from tests.e2e import together
from tests.e2e.test_every_target import BODIES, LIMIT_SECONDS, carry_out
from tests.e2e.world import STORAGE_VERSION, World
from tests.fakes.target_examples import Example, examples

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

GATED = tuple(row for row in catalogue().rows if row.auth.get("secret") and row.auth["secret"].keys)
RULE = """
[[allow]]
clusters = ["{cluster}"]
namespaces = ["by-key"]
subscriptions = ["{subscription}"]
target_types = [{types}]
auth = ["secret"]
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Keyed:
    """One target to connect by a key."""

    example: Example
    target_id: str

    @property
    def source(self) -> KeySource:
        found = self.example.row.auth["secret"].keys
        assert found is not None
        return found

    @property
    def place(self) -> str:
        return templates.fill(self.source.id_template, self.example.row.names(self.target_id) or {})


def wanted(world: World) -> list[Keyed]:
    """Every variant of every such row, in this subscription and under a name of its own."""
    group = world.contract.cluster_id.split("/providers/")[0]
    found = []
    for row in GATED:
        for example in examples(row):
            parts = example.id.split("/providers/")[1].split("/")
            parts[2] = f"k{uuid.uuid4().hex[:20]}"
            found.append(Keyed(example, f"{group}/providers/{'/'.join(parts)}"))
    return found


async def make(client: Any, keyed: Keyed) -> None:
    """Make the target, and before it what it is nested in, as its owner does."""
    row, answer = keyed.example.row, keyed.example.answer
    existing = row.existence_id(keyed.target_id)
    chain = [one for one in reversed(naming.ancestors(existing)) if "/providers/" in one]
    for resource_id in chain:
        provider = existing.split("/providers/")[1].split("/")[0]
        kind = {"kind": answer["kind"]} if row.variants else {}
        properties = {"allowSharedKeyAccess": True} if provider == "Microsoft.Storage" else {}
        body = {"location": "westeurope", **kind, **BODIES.get(provider, {}), "properties": properties}
        written = existing[: len(resource_id)]
        poller = await client.resources.begin_create_or_update_by_id(
            written, parameters=body, api_version=row.api_version
        )
        await poller.result()


async def post(world: World, keyed: Keyed, action: str, body: Any = None) -> Any:
    """An action of the owner on what has the keys."""
    token = await world.credential.get_token("https://management.azure.com/.default")
    url = f"{world.contract.arm_url}{keyed.place}/{action}?api-version={keyed.example.row.api_version}"
    headers = {"Authorization": f"Bearer {token.token}"}
    async with world.session.post(url, json=body or {}, headers=headers) as got:
        assert got.status == 200, await got.text()
        return await got.json()


def credentials(keyed: Keyed, answer: Any) -> set[str]:
    """The credentials in an answer that are to stand in the secret."""
    marked = catalogue().credentials
    return {str(at(answer, path)) for name, path in keyed.source.fetched.items() if name in marked}


async def written_down(world: World) -> dict[str, str]:
    """All that the app keeps and says: tables, queues, logs, traces and settings, by their names."""
    contract, found = world.contract, {}
    trust = {"connection_verify": contract.ca_file}
    async with TableServiceClient.from_connection_string(
        contract.azurite_connection_string, **trust
    ) as tables:
        async for table in tables.list_tables():
            rows = tables.get_table_client(table.name).list_entities()
            found[f"table {table.name}"] = repr([dict(row) async for row in rows])
    connect = QueueServiceClient.from_connection_string
    async with connect(contract.azurite_connection_string, api_version=STORAGE_VERSION, **trust) as queues:
        async for queue in queues.list_queues():
            peeked = await queues.get_queue_client(queue.name).peek_messages(max_messages=32)
            found[f"queue {queue.name}"] = repr([one.content for one in peeked])
    return found | await asyncio.to_thread(files, Path(contract.state_dir))


def files(folder: Path) -> dict[str, str]:
    """The app's logs, traces and settings."""
    paths = [*folder.glob("logs/*"), *folder.glob("*.jsonl"), folder / "app-settings.json"]
    return {path.name: path.read_text(errors="replace") for path in paths if path.is_file()}


@pytest.mark.timeout(LIMIT_SECONDS + 60)
async def test_every_target_with_keys_lives_by_one_that_stands_in_its_secret_alone(
    world: World, capsys: pytest.CaptureFixture[str]
):
    await together.all_told()
    namespace = await world.cluster.new_namespace("by-key")
    targets = wanted(world)
    async with world.azure(ResourceManagementClient) as client:
        await asyncio.gather(*(make(client, keyed) for keyed in targets))
    specs = [
        world.spec(
            f"key{number}",
            namespace=namespace,
            target={"type": keyed.example.row.name, "id": keyed.target_id},
            clientType="none",
            authType="secret",
        )
        for number, keyed in enumerate(targets)
    ]
    refused = await world.request("create", specs[0])
    assert (refused["state"], refused["code"]) == ("rejected", "policy-denied")
    rule = RULE.format(
        cluster=world.contract.cluster_id,
        subscription=world.contract.subscription_id,
        types=", ".join(f'"{row.name}"' for row in GATED),
    )
    text = await asyncio.to_thread(world.policy_file.read_text)
    await asyncio.to_thread(world.policy_file.write_text, text + rule)
    began, known = time.monotonic(), set[str]()

    created = await carry_out(world, "create", specs)
    for keyed, one in zip(targets, created, strict=True):
        connection = await world.connection(one["connectionId"])
        assert (connection["identity"], connection["kubernetes"]["serviceAccount"]) == (None, None)
        data = await world.cluster.secret(namespace, connection["kubernetes"]["secret"])
        groups = keyed.example.row.auth["secret"].groups("none")
        (group,) = [group for group in groups if group.variant in ("", keyed.example.variant)]
        assert data is not None, keyed
        assert set(data) == set(group.values), keyed
        keys = credentials(keyed, await post(world, keyed, "listKeys"))
        assert keys
        assert all(any(key in value for value in data.values()) for key in keys), keyed
        assert not [value for value in data.values() if not value or "{" in value], keyed
        known |= keys
    assert await world.cluster.names(namespace) == (
        sorted(f"sc-key{n}-secret" for n in range(len(specs))),
        [],
    )
    for validation in await carry_out(world, "validate", specs):
        assert [one for one in validation["findings"] if one["result"] == "failed"] == []

    rotated = credentials(targets[0], await post(world, targets[0], "regenerateKey", {"keyName": "key1"}))
    assert not rotated & known
    known |= rotated
    (validation,) = await carry_out(world, "validate", specs[:1])
    assert {one["name"] for one in validation["findings"] if one["result"] == "failed"} == {"settings-keys"}
    await carry_out(world, "repair", specs[:1])
    data = await world.cluster.secret(namespace, "sc-key0-secret")
    assert data is not None
    assert all(any(key in value for value in data.values()) for key in rotated)
    await carry_out(world, "delete", specs)

    took_seconds = time.monotonic() - began
    assert await world.cluster.names(namespace) == ([], [])
    kept = await written_down(world)
    assert {"table connections", "queue connection-steps", "functions.log"} <= set(kept), sorted(kept)
    assert [(name, len(key)) for name, text in kept.items() for key in known if key in text] == []
    with capsys.disabled():
        what = f"{len(targets)} connections by a key to {len(GATED)} target types"
        print(f"\n{what}: created, validated, deleted in {took_seconds:.1f} s")
        print(f"{len(known)} keys are in none of {len(kept)} tables, queues and files")
