"""The catalogue as a whole: complete, consistent with what infra and the pages say, and refused from."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from sandbox.arm.access import built_in_roles
from sandbox.arm.data_grants import ACCESS_POLICIES, DATA_ROLES
from sandbox.arm.events import passes
from sandbox.arm.keys import key_answers
from sandbox.arm.target_shapes import target_shapes
from shared import templates
from shared.catalogue import catalogue, parse
from shared.errors import RefusedError
from shared.events import WATCHED
from shared.facts import at
from shared.target_parts import AZURE_ROLE, COSMOS_ROLE, REDIS_POLICY
from shared.targets import TargetType
from tests.fakes.target_examples import document, examples

ROOT = Path(__file__).parents[2]
ROWS = catalogue().rows
WORKING = catalogue().working
INTENTS = {"read", "write", "send", "receive", "manage"}
STATUSES = {"works", "policy-gated", "deferred", "not-offered"}
FILTER_VALUES = 25
"""Event Grid's limit for all filters of one event subscription (learn.microsoft.com, event-filtering)."""
ACCOUNT = document()["storage-blob"]["id"]
VAULT = document()["keyvault"]["id"]
of_every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def granted(row: TargetType) -> set[tuple[str, str]]:
    """Every role that a request for a row can lead to."""
    return {(role.name, role.id) for intent in ("", *row.intents) for role in row.roles(intent)}


def type_of(template: str) -> str:
    """Resource type of an id template, as written."""
    namespace, *rest = template.split("/providers/", 1)[1].split("/")
    return "/".join((namespace, *rest[::2]))


def test_what_works_is_what_azure_or_the_service_itself_can_grant_by_a_role():
    assert [row.name for row in WORKING] == [
        "storage-blob", "storage-queue", "storage-table", "keyvault", "appconfig", "servicebus", "eventhub",
        "cosmos-sql", "redis", "postgres-flexible", "signalr", "webpubsub", "cognitiveservices",
    ]  # fmt: skip


@of_every_row
def test_a_row_is_complete(row: TargetType):
    assert [one.name for one in ROWS].count(row.name) == 1
    assert {kind.status for kind in row.auth.values()} <= STATUSES
    for kind in row.auth.values():
        assert bool(kind.reason) == (kind.status != "works")
        for client_type in {one for group in kind.settings for one in group.client_types}:
            groups = kind.groups(client_type)
            variants = [group.variant for group in groups]
            assert len(set(variants)) == len(variants)
    assert set(row.intents) <= INTENTS
    assert all(str(uuid.UUID(guid)) == guid for _, guid in granted(row) if row.grants is not REDIS_POLICY)
    assert (row.name in document()) == bool(row.id_template)
    if row.works:
        assert bool(row.roles()) != bool(row.database), "either a role, or a user of the server's own"
        assert row.intents
        assert row.database is None or set(row.database.privileges) == {"", *row.intents}
        assert row.api_version


@of_every_row
def test_no_credential_is_among_the_values_of_a_workload_identity(row: TargetType):
    for group in row.auth["workloadIdentity"].settings:
        for value in group.values.values():
            assert not any(f"{{{name}}}" in value for name in catalogue().credentials)


@of_every_row
def test_every_secret_has_a_placeholder_that_is_marked_as_a_credential(row: TargetType):
    kind = row.auth.get("secret")
    for group in kind.settings if kind else ():
        values = " ".join(group.values.values())
        assert any(f"{{{name}}}" in values for name in catalogue().credentials)


KEYED = [row for row in ROWS if "secret" in row.auth and row.auth["secret"].keys]


def test_whatever_azure_hands_out_keys_of_can_be_connected_by_one_where_the_policy_allows_it():
    assert [row.name for row in KEYED] == [
        "storage-blob", "storage-queue", "storage-table", "storage-file", "appconfig", "servicebus",
        "eventhub", "cosmos-sql", "cosmos-mongo", "cosmos-table", "cosmos-cassandra", "cosmos-gremlin",
        "redis", "redis-enterprise", "signalr", "webpubsub", "cognitiveservices",
    ]  # fmt: skip
    for row in ROWS:
        gated = row.name in {one.name for one in KEYED}
        assert all((kind.status == "policy-gated") == (kind.keys is not None) for kind in row.auth.values())
        assert gated == any(kind.status == "policy-gated" for kind in row.auth.values())


@pytest.mark.parametrize("row", KEYED, ids=lambda row: row.name)
def test_a_row_with_keys_knows_where_to_fetch_all_that_its_settings_need(row: TargetType):
    source = row.auth["secret"].keys
    assert source is not None
    assert "{" not in templates.fill(source.id_template, row.names(document()[row.name]["id"]) or {})
    for example in examples(row):
        told = {*example.facts(), *source.fetched, *source.named}
        for group in row.auth["secret"].settings:
            if group.variant in ("", example.variant):
                assert {place for one in group.values.values() for place in templates.places(one)} <= told
    answer = key_answers()[type_of(source.id_template).lower()]
    assert all(isinstance(at(answer, path), str) for path in source.fetched.values())
    fetched = {row.name: set(source.fetched)}
    assert fetched[row.name] & catalogue().credentials
    assert not set(source.named) & catalogue().credentials


@pytest.mark.parametrize("row", KEYED, ids=lambda row: row.name)
def test_a_row_with_keys_is_refused_where_its_target_takes_none(row: TargetType):
    taking = [one for one in row.required("secret") if one.finding == "target-takes-keys"]
    assert [one.code for one in taking] == ["target-keys-off"]
    assert all(one.of_parent == bool(row.name.startswith("cosmos-")) for one in taking)
    assert not [one for one in row.required("secret") if one.finding == "target-takes-entra"]


def test_reader_and_filter_know_the_types_that_are_connected_by_keys():
    reader = json.loads((ROOT / "infra/roles/reader.json").read_text())["actions"]
    for row in KEYED:
        for template in (row.existence_template, row.parent_template):
            assert not template or f"{type_of(template)}/read".lower() in map(str.lower, reader), row.name


def test_choosing_names_what_does_not_fit():
    assert catalogue().choose("keyvault", VAULT, "none", "read").name == "keyvault"
    for arguments, code, field in (
        (("rediss", VAULT, "none"), "unknown-target-type", "connection.target.type"),
        (("cosmos-mongo", VAULT, "none"), "target-deferred", "connection.target.type"),
        (("confluent-cloud", VAULT, "none"), "target-not-offered", "connection.target.type"),
        (("keyvault", ACCOUNT, "none"), "target-type-mismatch", "connection.target.id"),
        (("keyvault", VAULT, "cobol"), "unknown-client-type", "connection.clientType"),
        (("storage-queue", ACCOUNT, "springBoot"), "unknown-client-type", "connection.clientType"),
        (("keyvault", VAULT, "none", "send"), "unknown-intent", "connection.intent"),
    ):
        with pytest.raises(RefusedError) as caught:
            catalogue().choose(*arguments)
        assert (caught.value.code, caught.value.field) == (code, field)
        assert caught.value.remedy


@pytest.mark.parametrize("row", [row for row in ROWS if not row.works], ids=lambda row: row.name)
def test_what_does_not_work_is_refused_with_its_reason(row: TargetType):
    with pytest.raises(RefusedError) as caught:
        catalogue().choose(row.name, ACCOUNT, "none")
    assert row.auth["workloadIdentity"].reason in caught.value.detail


def test_the_remedy_of_an_unknown_type_lists_what_works():
    with pytest.raises(RefusedError) as caught:
        catalogue().find("x")
    assert caught.value.remedy == f"use one of {', '.join(row.name for row in WORKING)}"


def test_watched_are_the_types_of_all_targets_with_their_parents_and_no_groups():
    watched = catalogue().watched_types()
    for row in ROWS:
        if row.id_template:
            assert row.resource_type in watched
            assert not row.parent_template or type_of(row.parent_template).lower() in watched
    assert {"microsoft.storage/storageaccounts/blobservices", "microsoft.cache/redis/databases"} <= watched, (
        "as Service Connector names its targets"
    )
    assert not {"", "microsoft.resources/resourcegroups"} & watched


def test_parents_of_a_nested_target_are_watched_too():
    document = json.loads((ROOT / "shared/catalogue.json").read_text())
    document["targets"][0]["id"] = (
        document["targets"][0]["existenceId"] + "/blobServices/default/containers/{c}"
    )
    watched = parse(json.dumps(document)).watched_types()
    below = "microsoft.storage/storageaccounts/blobservices"
    assert {"microsoft.storage/storageaccounts", below, f"{below}/containers"} <= watched


def test_the_roles_of_what_works_are_those_that_the_app_may_delegate():
    delegable = json.loads((ROOT / "infra/roles/delegable.json").read_text())["roles"]
    by_azure = [granted(row) for row in WORKING if row.grants is AZURE_ROLE]
    assert {(role["name"], role["id"]) for role in delegable} == set().union(*by_azure)


def test_the_app_may_read_what_works():
    actions = json.loads((ROOT / "infra/roles/reader.json").read_text())["actions"]
    templates = {template for row in WORKING for template in (row.existence_template, row.parent_template)}
    templates |= {
        row.scope_template + one.suffix for row in WORKING for one in row.children if one.is_resource
    }
    assert {f"{type_of(template)}/read" for template in templates if template} <= set(actions)


@pytest.mark.parametrize("file", ["event-filter.json", "event-filter-narrow.json"])
def test_each_filter_lets_through_every_deletion_that_matters(file: str):
    subscriptions = json.loads((ROOT / "infra" / file).read_text())["eventSubscriptions"]
    group = "/subscriptions/s/resourceGroups/providers-rg"
    for kind in (catalogue().watched_types() - catalogue().also_watched) | WATCHED:
        namespace, *types = kind.split("/")
        subject = f"{group}/providers/{namespace}/" + "/".join(f"{one}/n" for one in types)
        if namespace == "microsoft.resources":
            subject = group
        event = {"eventType": "Microsoft.Resources.ResourceDeleteSuccess", "subject": subject}
        assert sum(passes(one["filter"], event) for one in subscriptions) == 1, kind
    cluster = f"{group}/providers/microsoft.containerservice/managedclusters/a"
    linker = f"{cluster}/providers/microsoft.servicelinker/linkers/l"
    for verb in ("Write", "Delete"):
        event = {"eventType": f"Microsoft.Resources.Resource{verb}Success", "subject": linker}
        assert sum(passes(one["filter"], event) for one in subscriptions) == 1
    for one in subscriptions:
        filters = one["filter"].get("advancedFilters", [])
        assert sum(len(rule["values"]) for rule in filters) <= FILTER_VALUES


def test_the_narrow_filter_keeps_out_what_nobody_connects_to():
    subscriptions = json.loads((ROOT / "infra/event-filter-narrow.json").read_text())["eventSubscriptions"]
    subject = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d"
    event = {"eventType": "Microsoft.Resources.ResourceDeleteSuccess", "subject": subject}
    assert not any(passes(one["filter"], event) for one in subscriptions)


def test_the_sandbox_knows_every_role_and_every_resource_type():
    known = {(role["roleName"], guid) for guid, role in built_in_roles().items()}
    connectors = {(role.name, role.id) for row in ROWS for role in row.roles_of_connector()}
    assert connectors <= known
    assert set().union(*(granted(row) for row in ROWS if row.grants is AZURE_ROLE)) <= known
    assert set().union(*(granted(row) for row in ROWS if row.grants is COSMOS_ROLE)) == {
        (name, guid) for guid, name in DATA_ROLES.items()
    }
    policies = {role_id for row in ROWS if row.grants is REDIS_POLICY for _, role_id in granted(row)}
    assert policies <= ACCESS_POLICIES
    shapes = {shape.type.lower() for shape in target_shapes()}
    shapes |= {"microsoft.storage/storageaccounts", "microsoft.keyvault/vaults"}
    for row in ROWS:
        retired = all(kind.status == "not-offered" for kind in row.auth.values())
        for template in (row.existence_template, row.parent_template):
            assert retired or not template or type_of(template).lower() in shapes, row.name


def test_the_catalogue_is_read_once():
    assert catalogue() is catalogue()
