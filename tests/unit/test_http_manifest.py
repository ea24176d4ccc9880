"""``GET /api/connections/{id}/manifest``: each kind, with the connection's own names."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from shared import naming
from tests.fakes.http_app import HttpApp
from tests.fakes.local_app import CLUSTER, LocalApp, create_body
from tests.fakes.their_linker import LINKER, SECRET, THEIRS, make_linker

ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


@pytest.fixture
async def made(app: LocalApp) -> HttpApp:
    await app.send(create_body())
    await app.settle()
    return HttpApp(app)


async def manifest(http: HttpApp, connection_id: str = ID, **params: str) -> Any:
    status, text, _ = await http.call("get_manifest", connectionId=connection_id, params=params)
    assert status == 200, text
    return yaml.safe_load(text)


@pytest.mark.parametrize("kind", ["Pod", "Deployment", "Job"])
async def test_a_whole_manifest_is_named_after_the_workload(made: HttpApp, kind: str):
    found = await manifest(made, kind=kind.lower(), container="main")
    assert (found["kind"], found["metadata"]["name"], found["metadata"]["namespace"]) == (
        kind,
        "orders",
        "shop",
    )
    pod = found if kind == "Pod" else found["spec"]["template"]
    assert pod["spec"]["containers"][0]["name"] == "main"
    assert pod["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "sc-ordersblob-secret"}}]


async def test_a_patch_names_the_keys_that_are_in_the_secret(app: LocalApp, made: HttpApp):
    found = await manifest(made, kind="patch")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    secret = await app.clusters.get(CLUSTER, "Secret", "shop", "sc-ordersblob-secret", values=True)
    assert secret is not None
    assert [one["valueFrom"]["secretKeyRef"]["key"] for one in container["env"]] == sorted(secret.data)


async def test_a_patch_of_an_adopted_connection_names_the_keys_as_they_were_renamed(app: LocalApp):
    make_linker(app)
    app.clusters.put_object(CLUSTER, "Secret", "shop", SECRET, data={"MY_ENDPOINT": "x"})
    await app.send({"action": "adopt", "linkerId": LINKER})
    await app.settle()
    found = await manifest(HttpApp(app), THEIRS, kind="patch")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in container["env"]] == ["MY_ENDPOINT"]


@pytest.mark.parametrize(
    ("params", "code", "field"),
    [({"kind": "cronjob"}, "invalid-kind", "kind"), ({"container": "A"}, "invalid-name", "container")],
)
async def test_what_cannot_be_made_is_refused_at_its_parameter(
    made: HttpApp, params: dict[str, str], code: str, field: str
):
    status, problem, _ = await made.call("get_manifest", connectionId=ID, params=params)
    assert (status, problem["code"], problem["field"]) == (400, code, field)
