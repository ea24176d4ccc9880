"""What hangs on each cluster and subscription, and which clusters there are."""

import pytest

from shared.errors import StateConflictError
from shared.inventory import Entry, Inventory, subscription_scope
from shared.models import ConnectionId
from tests.fakes.clock import VirtualClock
from tests.fakes.journal import Call, Journal, Recorded
from tests.fakes.local_app import CLUSTER, STORAGE, SUBSCRIPTION
from tests.fakes.state_store import InMemoryStateStore

ONE, TWO = ConnectionId("1" * 24), ConnectionId("2" * 24)


@pytest.fixture
def store() -> InMemoryStateStore:
    return InMemoryStateStore(VirtualClock())


def entry(kind: str, resource_id: str, connection_id: ConnectionId = ONE, generation: int = 1) -> Entry:
    return Entry(resource_id=resource_id, kind=kind, connection_id=connection_id, generation=generation)


async def test_a_cluster_is_known_once_in_the_casing_it_was_written(store: InMemoryStateStore):
    inventory = Inventory(store)
    linker = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"
    await inventory.note(entry("linker", linker))
    await inventory.note(entry("cluster", CLUSTER.upper(), TWO))
    [known] = await inventory.clusters()
    assert known.cluster_id == CLUSTER
    assert await inventory.connections(CLUSTER) == {ONE, TWO}


async def test_what_is_in_a_subscription_is_found_by_it_in_the_order_of_connections(
    store: InMemoryStateStore,
):
    inventory = Inventory(store)
    for connection_id in (TWO, ONE):
        await inventory.note(entry("target", STORAGE, connection_id))
        await inventory.note(entry("identity", f"{STORAGE}-id", connection_id))
    scope = subscription_scope(SUBSCRIPTION.upper())
    page = await inventory.page(scope, limit=3)
    assert [found.connection_id for _, found in page] == [ONE, ONE, TWO]
    rest = await inventory.page(scope, after=page[-1][0], limit=3)
    assert [found.connection_id for _, found in rest] == [TWO]
    assert await inventory.page(scope, after=rest[-1][0], limit=3) == []


async def test_what_is_in_no_scope_is_not_noted(store: InMemoryStateStore):
    inventory = Inventory(store)
    await inventory.note(entry("target", "/nowhere"))
    await inventory.note(entry("linker", STORAGE))
    assert store.rows("linkers") == []
    assert subscription_scope("") == ""


async def test_what_has_ended_is_kept_aside_and_forgotten(store: InMemoryStateStore):
    inventory = Inventory(store)
    one = entry("cluster", CLUSTER)
    await inventory.note(one)
    await inventory.retire(one)
    assert await inventory.connections(CLUSTER) == set()
    assert [found for _, found in await inventory.page(CLUSTER, limit=9, ended=True)] == [one]
    await inventory.forget(one, ended=True)
    assert await inventory.page(CLUSTER, limit=9, ended=True) == []
    await inventory.note(one)
    await inventory.forget(one)
    assert await inventory.connections(CLUSTER) == set()


async def test_an_issuer_that_another_one_follows_is_dead_and_one_that_comes_back_is_not(
    store: InMemoryStateStore,
):
    inventory = Inventory(store)
    await inventory.saw_issuer(CLUSTER, "https://a/")  # not ours: nothing to remember
    await inventory.note(entry("cluster", CLUSTER))
    for issuer in ("https://a/", "https://a/", "https://b/", ""):
        await inventory.saw_issuer(CLUSTER, issuer)
    [known] = await inventory.clusters()
    assert (known.issuer, known.former_issuers) == ("", ("https://a/", "https://b/"))
    await inventory.saw_issuer(CLUSTER, "https://a/")
    [known] = await inventory.clusters()
    assert (known.issuer, known.former_issuers) == ("https://a/", ("https://b/",))
    for number in range(20):
        await inventory.saw_issuer(CLUSTER, f"https://{number}/")
    [known] = await inventory.clusters()
    assert len(known.former_issuers) == 10


async def test_whoever_always_loses_the_race_for_a_clusters_row_says_so(store: InMemoryStateStore):
    await Inventory(store).note(entry("cluster", CLUSTER))
    journal = Journal()

    def moved(call: Call) -> BaseException | None:
        return StateConflictError("moved") if call.name == "state.transact" else None

    journal.before = moved
    with pytest.raises(StateConflictError):
        await Inventory(Recorded(store, "state", journal)).saw_issuer(CLUSTER, "https://a/")
