"""Records of requests and of who depends on a resource: which one stays, and how each is found again."""

import pytest

from shared import naming
from shared.errors import StateConflictError
from shared.inventory import Inventory
from shared.records import Dependent, Dependents, RequestLog, RequestRecord, client_of
from shared.rows import key_hash
from tests.fakes.clock import START
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, POLICY, STORAGE, LocalApp, create_body

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


def record(key: str, outcome: str = "opened", **values: str) -> RequestRecord:
    return RequestRecord(key=key, outcome=outcome, received_at=START, **values)


async def test_the_first_record_of_a_key_stays(app: LocalApp):
    log = RequestLog(app.store)
    assert await log.find("id:a") is None
    first = await log.remember(record("id:a", action="create"))
    assert await log.remember(record("id:a", action="delete")) == first
    assert await log.find("id:a") == first


async def test_a_refusal_is_listed_on_its_day_and_nothing_else_is(app: LocalApp):
    log = RequestLog(app.store)
    refused = await log.remember(record("message:1", "rejected", code="policy-denied"))
    await log.remember(record("message:2"))
    assert await log.rejected(f"{START:%Y-%m-%d}") == [refused]
    assert await log.rejected("2020-01-01") == []


async def test_keys_of_requests_may_hold_what_table_keys_refuse(app: LocalApp):
    log = RequestLog(app.store)
    strange = await log.remember(record("id:a/b\\c#d?e\u0007"))
    assert await log.find("id:a/b\\c#d?e\u0007") == strange


async def test_a_dependent_is_found_from_the_resource_and_from_all_above_it_in_any_casing(app: LocalApp):
    dependents = Dependents(app.store)
    one = Dependent(resource_id=STORAGE.lower(), kind="target", connection_id=ID, generation=1)
    await dependents.add(one)
    await dependents.add(one)
    group = STORAGE.partition("/providers/")[0]
    for place in (STORAGE, STORAGE.upper(), group):
        assert await dependents.of(place) == [one]
    assert await dependents.of(f"{STORAGE}/blobServices/default") == []
    assert await dependents.of(f"{group}2") == []
    await dependents.add(one.model_copy(update={"generation": 2}))
    assert len(await dependents.of(STORAGE)) == 2


async def test_a_linkers_client_is_found_by_the_client_id_alone_in_any_casing(app: LocalApp):
    dependents = Dependents(app.store)
    client_id = "AAAAAAAA-1111-4111-8111-111111111111"
    linker_id = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/theirs"
    one = client_of(linker_id, client_id, ID, 1)
    await dependents.add(one)
    assert await dependents.of_client(client_id) == await dependents.of_client(client_id.lower()) == [one]
    for place in (linker_id, CLUSTER, CLUSTER.partition("/providers/")[0]):
        assert await dependents.of(place) == [], "it is no resource whose deletion leads to the connection"
    assert await Inventory(app.store).connections(naming.fold_id(CLUSTER)) == {ID}, "a sweep can forget it"
    assert await dependents.remove(one) == 1
    assert await dependents.of_client(client_id) == []


def test_a_key_hash_is_safe_and_differs_with_its_text():
    assert key_hash("a/b") != key_hash("a/c")
    assert set(key_hash("/?#\\")) <= set("0123456789abcdef")


async def test_a_refusal_that_said_nothing_of_the_request_gives_way_to_a_decision(app: LocalApp):
    app.policy_file.write_text("nonsense")
    body = {**create_body(), "requestId": "r-1"}
    assert (await app.send(body)).code == "policy-unreadable"
    assert (await app.send(body)).code == "policy-unreadable"
    app.policy_file.write_text(POLICY)
    assert (await app.send(body)).outcome == "opened"
    found = await app.services.requests.find("id:r-1")
    assert found is not None
    assert found.outcome == "opened"


async def test_a_record_that_conflicts_and_cannot_be_read_is_not_passed_over(app: LocalApp):
    def rule(call: Call) -> BaseException | None:
        return StateConflictError() if call.name == "state.transact" else None

    app.journal.before = rule
    log: RequestLog = app.services.requests
    with pytest.raises(StateConflictError):
        await log.remember(RequestRecord(key="id:x", outcome="opened", received_at=START))
