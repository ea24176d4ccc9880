"""Updates over HTTP: a patch changes what it names, and a plan shows what an update would change."""

from typing import Any

import pytest

from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import STORAGE, LocalApp, create_body
from tests.fakes.sweeps import connected
from tests.unit.test_update import CONTAINER, ID, keys, roles, update, updated


@pytest.fixture(autouse=True)
def container(app: LocalApp) -> None:
    app.world.add_resource(CONTAINER)


async def patched(app: LocalApp, body: Any) -> tuple[int, Any]:
    status, found, _ = await HttpApp(app).call("update_connection", connectionId=ID, body=body)
    await app.settle()
    return status, found


async def test_a_patch_changes_what_it_names_and_null_takes_away(app: LocalApp):
    await connected(app)
    status, found = await patched(app, {"intent": "read", "target": {"id": CONTAINER}})
    assert (status, found["outcome"]) == (202, "opened")
    assert roles(app) == {(CONTAINER, "Storage Blob Data Reader")}
    status, _ = await patched(app, {"intent": None})
    assert status == 202
    assert roles(app) == {(CONTAINER, "Storage Blob Data Contributor")}
    _, shown, _ = await HttpApp(app).call(
        "get_operation", operationId=(await app.operations(ID))[-1].operation_id
    )
    assert (shown["kind"], shown["update"]) == ("create", True)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"clientTipe": "java"}, 400, "unknown-property"),
        ({"clientType": "cobol"}, 400, "unknown-client-type"),
        ({"namespace": "other"}, 409, "cannot-change"),
        ([1], 400, "not-an-object"),
        ({"workload": "other"}, 409, "cannot-change"),
    ],
)
async def test_a_bad_patch_is_refused(app: LocalApp, body: Any, status: int, code: str):
    await connected(app)
    found = await patched(app, body)
    assert (found[0], found[1]["code"]) == (status, code)


async def test_a_patch_of_nothing_is_not_found(app: LocalApp):
    assert (await patched(app, {"intent": "read"}))[0] == 404


async def planned(app: LocalApp, body: dict[str, Any]) -> Any:
    status, found, _ = await HttpApp(app).call("plan_connection", body=body)
    assert status == 200
    return found


async def test_a_plan_shows_what_an_update_would_add_and_remove(app: LocalApp):
    assert (await planned(app, create_body()))["changes"] is None
    found = await planned(app, update(intent="read"))
    assert {one["name"] for one in found["findings"] if one["result"] == "failed"} == {"name-free"}
    await connected(app)
    found = await planned(app, update(intent="read", clientType="springBoot"))
    assert (found["result"], found["unchanged"]) == ("ok", False)
    changes = found["changes"]
    assert (changes["refusal"], changes["properties"]) == (None, ["clientType", "intent"])
    assert [one["name"] for one in changes["roleAssignments"]["add"]] == ["Storage Blob Data Reader"]
    assert [(one["name"], one["scope"]) for one in changes["roleAssignments"]["remove"]] == [
        ("Storage Blob Data Contributor", STORAGE)
    ]
    added, before = set(changes["keys"]["add"]), keys(app)
    await updated(app, intent="read", clientType="springBoot")
    assert keys(app) == (before - set(changes["keys"]["remove"])) | added
    found = await planned(app, update(intent="read", clientType="springBoot"))
    assert (found["unchanged"], found["changes"]["properties"]) == (True, [])
    assert found["changes"]["roleAssignments"] == found["changes"]["keys"] == {"add": [], "remove": []}


async def test_a_plan_says_what_an_update_cannot_change(app: LocalApp):
    await connected(app)
    found = await planned(app, update(workload="other"))
    assert found["changes"]["refusal"]["code"] == "cannot-change"
    assert found["result"] == "failed"
    found = await planned(app, create_body(intent="read"))
    assert found["result"] == "failed", "a create with another body is refused"
    assert found["changes"]["refusal"] is None, "an update is not"


async def test_a_plan_of_an_update_looks_at_what_is_under_way(app: LocalApp):
    await app.send(create_body(), message_id="c")
    found = await planned(app, update(intent="read"))
    assert {one["name"]: one["result"] for one in found["findings"]}["name-free"] == "ok"
