"""What stays when Mooring is taken away: all of it is told, nothing is asked and nothing is changed."""

from collections import Counter
from typing import Any

import pytest

from handlers import http_remains
from shared import naming
from shared.ports import Upsert
from tests.fakes.aftermath import outside_calls
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, LocalApp, create_body, delete_body
from tests.fakes.recoveries import lose_tables, outcomes, recovered
from tests.fakes.sweeps import connected, put_linker, swept
from tests.unit.test_recovery import GIVEN, NAMES, made


async def listed(app: LocalApp) -> list[dict[str, Any]]:
    """All pages; not one call to Azure or a cluster is made for them."""
    since, http, found = len(app.journal.calls), HttpApp(app), list[dict[str, Any]]()
    after: dict[str, str] = {}
    while True:
        status, page, _ = await http.call("list_remains", params=after)
        assert (status, page["unreadable"]) == (200, 0)
        found += page["connections"]
        if page["next"] is None:
            assert outside_calls(app, since) == Counter()
            return found
        after = {"after": page["next"].partition("after=")[2]}


def things(found: list[dict[str, Any]], kind: str, *, ours: bool = True) -> set[tuple[str, ...]]:
    names = {"identity": ("id",), "role": ("scope", "name"), "credential": ("id",)}
    keys = names.get(kind, ("clusterId", "namespace", "name"))
    return {
        tuple(naming.fold_id(one[key]) if "/" in one[key] else one[key] for key in keys)
        for connection in found
        for one in connection["remains"]
        if one["kind"] == kind and one["ours"] is ours
    }


async def test_everything_that_is_left_in_azure_and_the_clusters_is_told(app: LocalApp):
    await made(app)
    found = await listed(app)
    assert sorted(one["name"] for one in found) == sorted(NAMES)
    given = {(naming.fold_id(GIVEN),)}
    assert things(found, "identity") | given == {(one,) for one in app.world.identities}
    assert things(found, "identity", ours=False) == given
    assert things(found, "role") == set(app.world.assignments)
    credentials = {
        (f"{identity}/federatedidentitycredentials/{name}",)
        for identity, held in app.world.credentials.items()
        for name in held
    }
    assert things(found, "credential") == credentials
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    for kind in ("Secret", "ConfigMap", "ServiceAccount"):
        there = {
            (naming.fold_id(CLUSTER), namespace, name) for one, namespace, name in objects if one == kind
        }
        told = things(found, kind) | things(found, kind, ours=False)
        assert told == there, kind
    assert things(found, "ServiceAccount", ours=False) == {(naming.fold_id(CLUSTER), "shop", "mine")}


async def test_what_is_gone_is_not_told_and_what_may_have_been_made_is(app: LocalApp):
    await connected(app)
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600.0)
    assert await listed(app) == []

    class Died(BaseException):
        pass

    app.journal.after = lambda call: Died() if call.name == "identities.ensure" else None
    await app.send(create_body("half", workload="half"), message_id="half")
    with pytest.raises(Died):
        await app.settle()
    app.journal.after = None
    [half] = await listed(app)
    [identity] = [one for one in half["remains"] if one["kind"] == "identity"]
    assert (identity["clientId"], naming.fold_id(identity["id"]) in app.world.identities) == (None, True)


async def test_earlier_plans_of_a_life_are_told_and_nothing_twice(app: LocalApp):
    await connected(app)
    await app.send({**create_body(intent="read"), "action": "update"}, message_id="u")
    await app.settle()
    [one] = await listed(app)
    roles = {item["role"] for item in one["remains"] if item["kind"] == "role"}
    assert roles == {"Storage Blob Data Reader", "Storage Blob Data Contributor"}
    keys = [tuple(map(str, item.values())) for item in one["remains"]]
    assert len(keys) == len(set(keys))


async def test_what_service_connector_made_is_told_as_theirs(app: LocalApp):
    put_linker(app)
    await swept(app)
    [one] = await listed(app)
    assert (one["state"], one["linkerId"] is not None) == ("observed", True)
    assert {item["ours"] for item in one["remains"]} == {False}
    assert {item["kind"] for item in one["remains"]} == {"Secret", "ServiceAccount"}


async def test_the_list_has_pages_and_each_connection_once(app: LocalApp, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_remains, "PAGE", 2)
    for number in range(5):
        await connected(app, f"n{number}", workload=f"n{number}")
    assert sorted(one["name"] for one in await listed(app)) == [f"n{number}" for number in range(5)]


async def test_a_row_that_cannot_be_read_is_counted_and_does_not_end_the_pages(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(http_remains, "PAGE", 1)
    for number in range(3):
        await connected(app, f"n{number}", workload=f"n{number}")
    rows = [row for row in app.store.rows("connections") if row.key == "a|connection"]
    change = Upsert(key=rows[1].key, columns={**rows[1].columns, "body": "{}"})
    await app.store.transact("connections", rows[1].partition, [change])
    http, after, unreadable, found = HttpApp(app), {}, 0, 0
    while True:
        _, page, _ = await http.call("list_remains", params=after)
        unreadable, found = unreadable + page["unreadable"], found + len(page["connections"])
        if page["next"] is None:
            break
        after = {"after": page["next"].partition("after=")[2]}
    assert (unreadable, found) == (1, 2)


@pytest.mark.parametrize("after", ["x", "a/b", "0" * 25])
async def test_a_place_that_is_no_connection_is_refused(after: str, app: LocalApp):
    status, problem, _ = await HttpApp(app).call("list_remains", params={"after": after})
    assert (status, problem["code"]) == (400, "invalid-id")


async def test_what_an_uninstallation_leaves_a_new_installation_takes_up_again(app: LocalApp):
    """The same resource group of identities and the same policy: then all of it is on record again."""
    await made(app)
    before = await listed(app)
    world = app.leftovers()
    lose_tables(app)
    assert await listed(app) == []
    assert {name: world[name] for name in world if name != "users"} == {
        name: found for name, found in app.leftovers().items() if name != "users"
    }
    assert set(outcomes(await recovered(app)).values()) == {"recovered"}
    assert await listed(app) == before


async def test_a_connection_of_which_a_part_cannot_be_read_is_counted_and_not_told_in_half(app: LocalApp):
    await connected(app)
    row = next(row for row in app.store.rows("connections") if row.key == "i|settings")
    change = Upsert(key=row.key, columns={**row.columns, "body": "{}"})
    await app.store.transact("connections", row.partition, [change])
    _, page, _ = await HttpApp(app).call("list_remains")
    assert (page["connections"], page["unreadable"]) == ([], 1)
