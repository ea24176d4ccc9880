"""The catalogue against what Service Connector documents, where a folder with that reference is given.

``MOORING_REFERENCE`` names a folder with one JSON file of its targets, named like a catalogue. It is no part
of this project; CI has it. Every deviation is listed with its reason in the tests' data, in
``service_connector_differences.json``, and what is listed must still deviate.
"""

from __future__ import annotations

import collections
import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sandbox.catalogue import combinations
from shared.catalogue import catalogue

FOLDER = os.environ.get("MOORING_REFERENCE", "")
DIFFERENCES = Path(__file__).parents[1] / "data" / "service_connector_differences.json"
UNKNOWN = "unknown"
"""How the reference says that nobody documents it."""

pytestmark = pytest.mark.skipif(not FOLDER, reason="MOORING_REFERENCE is not set")

Key = tuple[str, str, str]


@functools.cache
def reference() -> list[dict[str, Any]]:
    (file,) = Path(FOLDER).glob("*catalog*.json")
    targets: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["targets"]
    return targets


@functools.cache
def ours() -> dict[Key, list[dict[str, Any]]]:
    found: dict[Key, list[dict[str, Any]]] = collections.defaultdict(list)
    for one in combinations():
        key = one["target"], one["authType"], one["clientType"]
        found[key] += [one, *({**one, **other} for other in one.get("variants", ()))]
    return found


@functools.cache
def differences() -> dict[tuple[str, str], frozenset[str]]:
    listed = json.loads(DIFFERENCES.read_text(encoding="utf-8"))
    assert all(one["reason"] for one in listed)
    return {(one["target"], one["authType"]): frozenset(one["keys"]) for one in listed if "keys" in one}


@functools.cache
def other_roles() -> dict[tuple[str, str], frozenset[str]]:
    """Names of the roles that stand in for the documented ones."""
    listed = json.loads(DIFFERENCES.read_text(encoding="utf-8"))
    return {(one["target"], one["authType"]): frozenset(one["roles"]) for one in listed if "roles" in one}


def documented() -> list[tuple[Key, dict[str, str]]]:
    """Keys and values of every combination; empty where nobody documents any."""
    found = []
    for target in reference():
        for row in target["settings"]:
            values = {key["name"]: key["valueTemplate"] for key in row["keys"]}
            if UNKNOWN in values:
                values = {}
            found += [((target["cliName"], row["authType"], one), values) for one in row["clientTypes"]]
    return found


def test_every_target_is_known_and_no_other():
    assert {key[0] for key in ours()} == {target["cliName"] for target in reference()}


def test_every_auth_kind_and_client_type_of_a_target_has_a_status():
    listed = {
        (target["cliName"], auth, client)
        for target in reference()
        for auth in target["authTypes"]
        for client in target["clientTypes"]
    }
    assert len(listed) > 300
    assert listed <= set(ours())


def test_what_nobody_documents_is_not_offered():
    for key, values in documented():
        if not values:
            assert [one["status"] for one in ours()[key]] == ["not-offered"], key


def test_keys_and_values_are_the_documented_ones():
    used: set[tuple[str, str]] = set()
    compared = 0
    for key, values in documented():
        if not values:
            continue
        candidates = [one["keys"] for one in ours()[key] if set(one["keys"]) == set(values)]
        assert candidates, f"{key}: none of {ours()[key]} has the keys {sorted(values)}"
        if values not in candidates:
            (candidate,) = candidates
            deviating = {name for name, value in values.items() if candidate[name] != value}
            assert deviating <= differences().get(key[:2], frozenset()), (key, deviating)
            used.add(key[:2])
        compared += 1
    assert used == set(differences()), "what is listed must still deviate"
    assert compared > 400


def test_roles_are_the_documented_ones():
    for target in reference():
        for auth in target["authTypes"]:
            wanted = {(role["name"], role["roleDefinitionId"]) for role in target["roles"].get(auth, ())}
            given = {
                (role["name"], role["roleDefinitionId"])
                for (name, kind, _), rows in ours().items()
                if (name, kind) == (target["cliName"], auth)
                for one in rows
                for role in one["roles"]
            }
            key = (target["cliName"], auth)
            if key in other_roles():
                assert given.isdisjoint(wanted), "what is listed must still deviate"
                assert {name for name, _ in given} == other_roles()[key]
            else:
                assert given == wanted, key


def test_every_workload_identity_that_azure_grants_by_a_role_for_data_works():
    """What may stay out are control-plane roles whose holder fetches a key (Cosmos DB's other APIs)."""
    for target in reference():
        roles = target["roles"].get("workloadIdentity", ())
        if any(role["plane"] == "data plane" for role in roles):
            statuses = {
                one["status"]
                for key, rows in ours().items()
                if key[:2] == (target["cliName"], "workloadIdentity")
                for one in rows
                if one["keys"]
            }
            assert statuses == {"works"}, target["cliName"]


def test_ids_have_the_documented_form():
    for target in reference():
        row = catalogue().find(target["cliName"])
        pattern = target["resourceIdPattern"]
        if not pattern.startswith("/"):
            assert not row.id_template
            continue
        example = pattern.replace("{", "").replace("}", "")
        names = row.names(example)
        assert names is not None, pattern
        assert set(names) == set(names.values()), "placeholders have the same names"
