"""The published schema and the decoder take the same requests, those of ``examples/`` among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from shared import request_schema, requests
from tests.unit.test_requests import CLUSTER, IDENTITY, KEY, create, refused

ROOT = Path(__file__).parents[2]


def test_the_published_schema_is_the_models_own():
    published = json.loads((ROOT / requests.SCHEMA_FILE).read_text())
    how = (
        "regenerate it with: python -c 'import json; from pathlib import Path; "
        "from shared import request_schema as s, requests; "
        'Path(requests.SCHEMA_FILE).write_text(json.dumps(s.json_schema(), indent=2) + "\\n")\''
    )
    assert published == request_schema.json_schema(), how


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (create(), True),
        (create(workload="web", clientType="python", identityId=IDENTITY), True),
        ({"action": "delete", "connectionId": "0" * 24}, True),
        ({"action": "validate", "connection": KEY, "requestId": "x"}, True),
        ({"action": "repair", "connectionId": "0" * 24}, True),
        ({"action": "adopt", "linkerId": f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/a_b"}, True),
        ({"action": "adopt", "linkerId": CLUSTER}, False),
        ({"action": "adopt"}, False),
        ({"action": "validate"}, False),
        ({"action": "delete", "connectionId": "0" * 24, "connection": KEY}, False),
        ({"action": "delete", "connection": None}, False),
        ({"action": "undo", "connection": KEY}, False),
        (create(customizedKeys={"A_B": "c.d-e"}, additionalSettings={"F": "g h"}), True),
        (create(customizedKeys={"1A": "B"}), False),
        (create(additionalSettings={"A": "x" * 257}), False),
        (create(extra=1), False),
        (create(name="-"), False),
        (create(namespace="Shop"), False),
        (create(clusterId="aks"), False),
        (create(target=...), False),
    ],
)
def test_schema_and_decoder_agree(body: dict[str, Any], good: bool):
    validator = jsonschema.Draft202012Validator(request_schema.json_schema())
    assert validator.is_valid(body) is good
    if good:
        requests.decode(json.dumps(body))
    else:
        refused(body)


@pytest.mark.parametrize("name", ["create", "delete", "validate", "repair", "adopt"])
def test_the_example_requests_are_accepted(name: str):
    request = requests.decode((ROOT / "examples" / f"{name}-request.json").read_bytes())
    assert request.action == name


def test_the_example_requests_are_about_one_connection():
    found = [
        requests.connection_id_of(requests.decode((ROOT / "examples" / f"{name}-request.json").read_bytes()))
        for name in ("create", "delete", "validate", "repair")
    ]
    assert len(set(found)) == 1
