"""The page for those who come from the CLI names every command and option, and only what is there."""

import json
import re
from typing import Any

import pytest

from shared.models import Kind
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import LocalApp
from tests.fakes.sweeps import connected
from tests.unit.pages import REFERENCE, table_rows
from tests.unit.test_handlers import FUNCTIONS

FILE = REFERENCE / "service-connector.md"
PAGE = FILE.read_text(encoding="utf-8")
SCHEMA = json.loads((REFERENCE / "connection-request.schema.json").read_text(encoding="utf-8"))
COMMANDS = {
    "create",
    "update",
    "delete",
    "validate",
    "list",
    "show",
    "list-configuration",
    "list-support-types",
    "wait",
}
"""Of azure-cli 2.91, ``az aks connection --help``."""
OPTIONS = {
    *("connection", "source-id", "name", "resource-group", "kube-namespace", "target-id", "client-type"),
    *("workload-identity", "secret", "service-principal", "enable-csi", "customized-keys", "connstr-props"),
    *("opt-out", "new", "no-recreate", "no-wait", "appconfig-id", "use-appconfig-extension"),
    *("service-endpoint", "private-endpoint"),
}
"""Of ``az aks connection create``, besides those that name a target."""


def test_every_command_has_its_row():
    assert {row[0].strip("`") for row in table_rows(FILE)} >= COMMANDS


def test_every_option_has_its_row():
    assert set(re.findall(r"`--([a-z-]+)`", PAGE.split("## Options")[1])) == OPTIONS


def test_every_route_of_the_page_is_one_of_the_app():
    routes = {trigger[1] for trigger in FUNCTIONS.values()}
    named = re.findall(r"`(GET|POST|PATCH|DELETE) /api/([^`]+)`", PAGE)
    assert len(named) > 10
    assert {f"{method} {path}" for method, path in named} <= routes


def test_every_property_of_the_page_is_one_of_a_request():
    known = SCHEMA["$defs"]["NewConnection"]["properties"]
    for path in re.findall(r"`connection\.([A-Za-z.]+)`", PAGE):
        top, _, below = path.partition(".")
        assert top in known
        assert not below or below in SCHEMA["$defs"]["Target"]["properties"]


async def test_a_validation_has_one_result_for_scripts(app: LocalApp):
    connection_id = await connected(app)
    http = HttpApp(app)

    async def result() -> Any:
        body = {"action": "validate", "connectionId": connection_id}
        record = await app.send(body, message_id=f"v{len(app.journal.calls)}")
        _, before, _ = await http.call("get_operation", operationId=str(record.operation_id))
        assert before["result"] is None
        await app.settle()
        _, shown, _ = await http.call("get_operation", operationId=str(record.operation_id))
        assert shown["kind"] == Kind.VALIDATE
        return shown["result"]

    assert await result() == "unknown", "proofs are off"
    app.world.assignments.clear()
    assert await result() == "failed"
    _, created, _ = await http.call(
        "get_operation", operationId=str((await app.operations(connection_id))[0].operation_id)
    )
    assert created["result"] is None


async def test_one_target_can_be_asked_for(app: LocalApp):
    http = HttpApp(app)
    status, found, _ = await http.call("list_targets", params={"type": "keyvault"})
    assert (status, [one["type"] for one in found["targets"]]) == (200, ["keyvault"])
    status, problem, _ = await http.call("list_targets", params={"type": "teapot"})
    assert (status, problem["code"]) == (400, "unknown-target-type")


@pytest.mark.parametrize("client_type", ["python", "java"])
async def test_settings_of_any_client_type_are_listed(app: LocalApp, client_type: str):
    connection_id = await connected(app)
    status, found, _ = await HttpApp(app).call(
        "get_configuration", connectionId=connection_id, params={"clientType": client_type}
    )
    assert (status, found["clientType"]) == (200, client_type)
    assert all(one["value"] for one in found["configurations"])
