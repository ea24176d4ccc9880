"""The emulator's clusters: made by control calls, separate, kept over restarts, gone when deleted."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from tests.contract.kubernetes_servers import CLUSTER, Server, new_server, secret


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Server]:
    server = new_server("emulator", tmp_path)
    server.start()
    yield server
    server.stop()


def test_a_cluster_answers_only_after_it_was_made_and_until_it_is_deleted(emulator: Server):
    emulator.url = f"{emulator.topology.kubernetes_url}/clusters/{CLUSTER}"
    assert emulator.raw("GET", "/version").status == 404
    emulator.make_cluster(str(uuid.uuid4()))
    assert emulator.raw("GET", "/version").status == 200
    assert emulator.control("DELETE", f"/sandbox/clusters/{CLUSTER}").status == 204
    assert emulator.raw("GET", "/version").status == 404
    assert emulator.fetch("GET", f"{emulator.issuer}.well-known/openid-configuration").status == 404
    assert emulator.control("DELETE", f"/sandbox/clusters/{CLUSTER}").status == 404


def test_objects_uids_and_keys_survive_a_restart(emulator: Server):
    emulator.make_cluster(str(uuid.uuid4()))
    path = "/api/v1/namespaces/default/secrets"
    before = emulator.raw("POST", path, secret("s", data={"a": "Yg=="})).body
    token_path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    token = emulator.raw("POST", token_path, {"spec": {"audiences": []}}).body["status"]["token"]
    emulator.stop()
    emulator.start()
    assert emulator.raw("GET", f"{path}/s").body == before
    assert emulator.fetch("GET", f"{emulator.url}/version", token=token).status == 200
    later = emulator.raw("POST", path, secret("t")).body
    assert int(later["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])


def test_the_same_incarnation_again_keeps_everything_and_a_new_one_begins_anew(emulator: Server):
    incarnation = str(uuid.uuid4())
    emulator.make_cluster(incarnation)
    path = "/api/v1/namespaces/default/secrets"
    emulator.raw("POST", path, secret("s"))
    issuer = emulator.issuer
    emulator.make_cluster(incarnation)
    assert emulator.issuer == issuer
    assert emulator.raw("GET", f"{path}/s").status == 200
    emulator.make_cluster(str(uuid.uuid4()))
    assert emulator.issuer != issuer
    assert emulator.issuer.endswith("/")
    assert emulator.raw("GET", f"{path}/s").status == 404


def test_two_clusters_share_nothing(emulator: Server):
    emulator.make_cluster(str(uuid.uuid4()))
    first_url = emulator.url
    body = {"incarnation": str(uuid.uuid4())}
    other = emulator.control("PUT", "/sandbox/clusters/aks-2", body).body
    path = "/api/v1/namespaces/default"
    emulator.raw("POST", f"{path}/secrets", secret("s"))
    token = emulator.raw("POST", f"{path}/serviceaccounts/default/token", {"spec": {}}).body
    login = token["status"]["token"]
    assert jwt.decode(login, options={"verify_signature": False})["iss"] == emulator.issuer
    emulator.url = other["server"]
    assert emulator.raw("GET", f"{path}/secrets/s").status == 404
    assert emulator.fetch("GET", f"{other['server']}/api", token=login).status == 401
    assert emulator.fetch("GET", f"{first_url}/api", token=login).status == 200


def test_a_watch_of_a_forgotten_version_is_expired(emulator: Server):
    emulator.make_cluster(str(uuid.uuid4()))
    path = "/api/v1/namespaces/default/secrets"
    emulator.raw("POST", path, secret("s"))
    emulator.compact()
    answer = emulator.raw("GET", f"{path}?watch=1&resourceVersion=1")
    assert answer.status == 410
    assert answer.body["reason"] == "Expired"


def test_calls_are_journalled_with_their_caller(emulator: Server):
    emulator.make_cluster(str(uuid.uuid4()))
    emulator.raw("GET", "/api/v1/namespaces")
    calls = emulator.control("GET", "/sandbox/calls").body
    assert calls[-1]["caller"] == "admin"
    assert calls[-1]["status"] == 200


@pytest.mark.parametrize(
    ("name", "body"),
    [("bad name", {"incarnation": str(uuid.uuid4())}), ("aks", {"incarnation": "no-guid"}), ("aks", [])],
)
def test_a_cluster_that_cannot_be_is_refused(emulator: Server, name: str, body: object):
    answer = emulator.control("PUT", f"/sandbox/clusters/{name.replace(' ', '%20')}", body)
    assert answer.status == 400
