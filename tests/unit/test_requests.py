"""The request message: what is accepted, and how everything else is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import naming, requests
from shared.errors import RefusedError
from shared.spec import ConnectionSpec

GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
CLUSTER = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acc"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id"
KEY = {"name": "Blob_1", "clusterId": CLUSTER, "namespace": "shop"}


def create(**changes: Any) -> dict[str, Any]:
    connection = {**KEY, "target": {"type": "storage-blob", "id": ACCOUNT}} | changes
    return {
        "action": "create",
        "connection": {name: value for name, value in connection.items() if value is not ...},
    }


def refused(body: Any) -> RefusedError:
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    with pytest.raises(RefusedError) as caught:
        requests.decode(text)
    return caught.value


def test_a_create_request_becomes_a_specification_with_defaults():
    request = requests.decode(json.dumps(create()))
    assert isinstance(request, requests.CreateRequest)
    assert requests.to_spec(request) == ConnectionSpec(
        name="Blob_1",
        cluster_id=CLUSTER,
        namespace="shop",
        workload="blob-1",
        target_type="storage-blob",
        target_id=ACCOUNT,
        client_type="none",
        identity_id="",
    )
    assert requests.connection_id_of(request) == naming.connection_id(CLUSTER, "shop", "blob1")


def test_everything_optional_is_carried_over():
    body = create(workload="web", clientType="springBoot", identityId=IDENTITY) | {"requestId": "order-7:1"}
    request = requests.decode(json.dumps(body))
    assert isinstance(request, requests.CreateRequest)
    assert request.request_id == "order-7:1"
    spec = requests.to_spec(request)
    assert (spec.workload, spec.client_type, spec.identity_id) == ("web", "springBoot", IDENTITY)


@pytest.mark.parametrize("action", ["delete", "validate"])
def test_an_existing_connection_is_named_by_id_or_by_name(action: str):
    by_name = requests.decode(json.dumps({"action": action, "connection": KEY}))
    connection_id = requests.connection_id_of(by_name)
    by_id = requests.decode(json.dumps({"action": action, "connectionId": connection_id}))
    assert requests.connection_id_of(by_id) == connection_id
    assert by_id.action == by_name.action == action


def test_plain_text_bytes_and_base64_with_line_breaks_say_the_same():
    text = json.dumps(create())
    packed = base64.encodebytes(text.encode())
    assert b"\n" in packed.strip()
    forms = [text, text.encode(), packed, packed.decode(), base64.b64encode(text.encode())]
    assert all(requests.decode(form) == requests.decode(text) for form in forms)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "  ",
        "{",
        '{"action":"create",}',
        "hello there",
        b"\xff\xfe{\x00}\x00",
        "\ufeff{}",
        '{"action": NaN}',
        '{"action": -Infinity}',
        base64.b64encode(b"not json"),
        base64.b64encode(base64.b64encode(b"{}")),
        base64.urlsafe_b64encode(b"\xfb\xff{}"),
        base64.b64encode(b"\x1f\x8b\x08"),
        "\ud800",
        '{"action": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_neither_json_nor_base64_of_json_is_refused(body: bytes | str):
    assert refused(body).code == "not-json"


def test_base64_is_strict():
    packed = base64.b64encode(json.dumps(create()).encode()).decode()
    for spoilt in (packed[:8] + "*" + packed[8:], packed + "*", "-" + packed):
        assert refused(spoilt).code == "not-json"


@pytest.mark.parametrize("body", ["[]", "1", "null", '"text"', "true"])
def test_json_that_is_no_object_is_refused(body: str):
    assert refused(body).code == "not-an-object"


def test_the_size_limits_hold_for_plain_text_and_for_base64():
    fitting = json.dumps(create())
    fitting += " " * (requests.JSON_BYTES - len(fitting))
    requests.decode(fitting)
    packed = base64.b64encode(fitting.encode())
    assert len(packed) == requests.MESSAGE_BYTES
    requests.decode(packed)
    assert refused(fitting + " ").code == "message-too-large"
    assert refused(base64.b64encode(fitting.encode() + b" ")).code == "message-too-large"
    assert refused(fitting + " " * (requests.MESSAGE_BYTES - len(fitting))).code == "message-too-large"


def test_nesting_is_counted_outside_of_strings_only():
    deep = "[" * 20 + "]" * 20
    assert refused(f'{{"action": {deep}}}').code == "too-deep"
    assert refused("[" * 10_000).code == "too-deep"
    assert refused(f'{{"action": {deep[1:-1]}}}').code == "wrong-type"
    assert refused(json.dumps({"action": '"' + "[" * 50})).code == "unknown-action"


@pytest.mark.parametrize(
    "body",
    ['{"action":"delete","action":"create"}', '{"action":"create","connection":{"x":[{"a":1,"a":1}]}}'],
)
def test_a_repeated_property_is_refused_wherever_it_stands(body: str):
    assert refused(body).code == "duplicate-key"


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "dequeueCount",
        "popReceipt",
        "insertionTime",
        "expirationTime",
        "nextVisibleTime",
        "QUEUETRIGGER",
    ],
)
def test_names_that_the_functions_host_would_overwrite_are_refused_with_an_explanation(name: str):
    error = refused(create() | {name: "x"})
    assert (error.code, error.field) == ("reserved-property", name)
    assert "Functions host" in error.detail
    assert "requestId" in error.remedy


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "missing-property", "action"),
        ({"action": 1}, "wrong-type", "action"),
        ({"action": None}, "wrong-type", "action"),
        ({"action": "destroy"}, "unknown-action", "action"),
        ({"action": "create"}, "missing-property", "connection"),
        (create() | {"extra": 1}, "unknown-property", "extra"),
        (create(extra=1), "unknown-property", "connection.extra"),
        (create(name=...), "missing-property", "connection.name"),
        (create(name=7), "wrong-type", "connection.name"),
        (create(name=""), "invalid-name", "connection.name"),
        (create(name="-a"), "invalid-name", "connection.name"),
        (create(name="a" * 61), "invalid-name", "connection.name"),
        (create(name="a\n"), "invalid-name", "connection.name"),
        (create(name="\u0430bc"), "invalid-name", "connection.name"),
        (create(namespace="Shop"), "invalid-name", "connection.namespace"),
        (create(namespace="a" * 64), "invalid-name", "connection.namespace"),
        (create(namespace="a-"), "invalid-name", "connection.namespace"),
        (create(namespace="\u0661"), "invalid-name", "connection.namespace"),
        (create(workload=""), "invalid-name", "connection.workload"),
        (create(workload=None), "wrong-type", "connection.workload"),
        (create(clientType="py thon"), "invalid-name", "connection.clientType"),
        (create(clusterId=ACCOUNT), "invalid-id", "connection.clusterId"),
        (create(identityId=ACCOUNT), "invalid-id", "connection.identityId"),
        (create(identityId=""), "invalid-id", "connection.identityId"),
        (create(target=ACCOUNT), "wrong-type", "connection.target"),
        (create(target=[]), "wrong-type", "connection.target"),
        (create(target={"type": "keyvault"}), "missing-property", "connection.target.id"),
        (create(target={"type": "Key Vault", "id": ACCOUNT}), "invalid-name", "connection.target.type"),
        (create(target={"type": "keyvault", "id": GROUP}), "invalid-id", "connection.target.id"),
        (create(target={"type": "keyvault", "id": ACCOUNT + "%41"}), "invalid-id", "connection.target.id"),
        (create() | {"requestId": ""}, "invalid-id", "requestId"),
        (create() | {"requestId": "a b"}, "invalid-id", "requestId"),
        (create() | {"requestId": 5}, "wrong-type", "requestId"),
        ({"action": "delete"}, "missing-property", ""),
        ({"action": "delete", "connectionId": "A" * 24}, "invalid-id", "connectionId"),
        ({"action": "delete", "connectionId": "a" * 24, "connection": KEY}, "unknown-property", ""),
        ({"action": "delete", "connection": None}, "wrong-type", ""),
        ({"action": "validate", "connection": {**KEY, "a": 1}}, "unknown-property", "connection.a"),
    ],
)  # fmt: skip
def test_each_fault_has_its_code_and_its_field(body: dict[str, Any], code: str, field: str):
    error = refused(body)
    assert (error.code, error.field) == (code, field)
    assert error.remedy


def test_a_misspelt_property_is_told_together_with_the_right_one():
    error = refused(create(clusterId=..., clusterID=CLUSTER))
    assert (error.code, error.field, error.remedy) == (
        "unknown-property",
        "connection.clusterID",
        "did you mean clusterId?",
    )


def test_an_offending_plain_value_is_quoted_in_part():
    error = refused(create(namespace="Shop-" + "b" * 200))
    assert "'Shop-" in error.detail
    assert "b" * 60 not in error.detail
    assert error.detail.isascii()


@pytest.mark.parametrize(
    "secret",
    [
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Zm9v",
        "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
        "abC8Q~AbcdefghijklmnopqrstuvwXYZ",
        "hunter2-Password",
        "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ5",
    ],
)
def test_nothing_that_looks_like_a_credential_is_ever_quoted(secret: str):
    bodies = [
        create(namespace=secret),
        create(target={"type": "storage-blob", "id": secret}),
        create(**{secret: 1}),
        create() | {secret: 1, "requestId": secret + "!"},
        create() | {"action": secret},
    ]
    for body in bodies:
        error = refused(body)
        assert secret[:8] not in error.detail + error.field + error.remedy, error.detail


properties = st.sampled_from(["action", "connection", "name", "target", "id", "x"])
values = st.recursive(
    st.none() | st.booleans() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(properties, inner, max_size=4),
)


@given(values)
def test_decoding_only_ever_refuses(value: Any):
    assert refused(value).code


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_decoding_noise_only_ever_refuses(body: bytes | str):
    assert refused(body).code in {"not-json", "not-an-object", "missing-property"}
