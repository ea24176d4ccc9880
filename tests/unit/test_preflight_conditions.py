"""What Azure's answer of a target must say: refused, waited for or said, with the command that mends it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shared import naming, retry
from shared.catalogue import catalogue
from shared.conditions import Condition
from shared.errors import NotYetError, PermanentError
from shared.models import Kind
from shared.targets import TargetType
from tests.fakes.local_app import STORAGE, SUBSCRIPTION, VAULT, LocalApp, create_body, make_app
from tests.fakes.step_bench import Bench
from tests.fakes.target_examples import Example, examples

WORKING = catalogue().working
CHANGES = {
    "target-provisioned": {"provisioningState": "Updating"},
    "target-healthy": {"provisioningState": "Failed"},
    "target-takes-roles": {"enableRbacAuthorization": False},
    "network": {"publicNetworkAccess": "Disabled"},
}
"""What of an answer's properties breaks a condition, by finding."""


@pytest.fixture
def vault(app: LocalApp) -> Bench:
    return Bench(app, target_type="keyvault", target_id=VAULT)


def change(bench: Bench, **properties: Any) -> None:
    """Change properties of the bench's target; ``None`` takes one away."""
    target_id = bench.connection.spec.target_id
    body = bench.app.world.resources[naming.fold_id(target_id)]
    body["properties"] = {**body["properties"], **properties}


def unmet(row: TargetType, answer: Mapping[str, Any]) -> dict[str, str]:
    """Ends by finding of all that an answer does not meet; it stands for the parent's where that is asked."""
    return {
        one.finding: one.code or one.waits or "warning"
        for one in row.requires
        if one.unmet(answer) is not None
    }


def seen(example: Example) -> Mapping[str, Any]:
    """The answer that a row's conditions look at: the target's, or that of what it is a part of."""
    (of_parent,) = {one.of_parent for one in example.row.requires}
    return (example.parent or {}) if of_parent else example.answer


# --- rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", WORKING, ids=lambda row: row.name)
def test_azures_usual_answer_meets_all_that_a_row_requires(row: TargetType):
    for example in examples(row):
        answer = {**seen(example), "properties": {**seen(example)["properties"]}}
        answer["properties"] |= {"provisioningState": "Succeeded", "publicNetworkAccess": "Enabled"}
        assert unmet(row, answer) == {}
        assert row.requires, "every target can at least be updating"


@pytest.mark.parametrize("row", WORKING, ids=lambda row: row.name)
def test_every_row_waits_for_its_target_and_says_a_closed_firewall(row: TargetType):
    answer = seen(examples(row)[0])
    for properties, ends in (
        ({"provisioningState": "updating"}, {"target-provisioned": "target-updating"}),
        ({"provisioningState": "Failed"}, {"target-healthy": "warning"}),
        ({"provisioningState": "SomethingNew"}, {}),
        ({"publicNetworkAccess": "Disabled"}, {"network": "warning"}),
    ):
        if row.database is not None:  # a server says other things of itself: below
            continue
        changed = {**answer, "properties": {**answer["properties"], **properties}}
        assert unmet(row, changed) == ends


@pytest.mark.parametrize(
    ("properties", "ends"),
    [
        ({"state": "Updating"}, {"target-provisioned": "target-updating"}),
        ({"state": "Stopped"}, {"target-running": "target-stopped"}),
        ({"authConfig": {"activeDirectoryAuth": "Disabled"}}, {"target-takes-entra": "target-entra-off"}),
        ({"authConfig": {}}, {"target-takes-entra": "target-entra-off"}),
        ({"network": {"publicNetworkAccess": "Disabled"}}, {"network": "warning"}),
        ({}, {}),
    ],
)
def test_a_database_server_runs_and_takes_entras_tokens(properties: dict[str, Any], ends: dict[str, str]):
    row = catalogue().find("postgres-flexible")
    answer = seen(examples(row)[0])
    assert unmet(row, {**answer, "properties": {**answer["properties"], **properties}}) == ends


def test_only_some_answers_have_a_firewall_to_go_by():
    closed = {"networkAcls": {"defaultAction": "Deny"}, "networkACLs": {"defaultAction": "Deny"}}
    said = set()
    for row in WORKING:
        answer = examples(row)[0].answer
        if "network" in unmet(row, {**answer, "properties": {**answer["properties"], **closed}}):
            said.add(row.name)
    assert {"storage-blob", "keyvault", "cognitiveservices"} <= said
    assert not {"signalr", "webpubsub", "appconfig"} & said, "SignalR denies by default and allows by kind"


@pytest.mark.parametrize(
    ("name", "properties", "code"),
    [
        ("keyvault", {"enableRbacAuthorization": False}, "target-rbac-off"),
        ("keyvault", {"enableRbacAuthorization": None}, "target-rbac-off"),
        ("signalr", {"disableAadAuth": True}, "target-entra-off"),
        ("webpubsub", {"disableAadAuth": True}, "target-entra-off"),
        ("cognitiveservices", {"customSubDomainName": None}, "target-entra-off"),
        ("redis", {"redisConfiguration": {"aad-enabled": "False"}}, "target-entra-off"),
        ("redis", {"redisConfiguration": {}}, "target-entra-off"),
    ],
)
def test_what_takes_no_role_or_token_is_refused(name: str, properties: dict[str, Any], code: str):
    row = catalogue().find(name)
    answer = examples(row)[0].answer
    assert code in unmet(row, {**answer, "properties": {**answer["properties"], **properties}}).values()


@pytest.mark.parametrize("row", WORKING, ids=lambda row: row.name)
def test_every_condition_has_a_command_with_the_targets_own_names(row: TargetType):
    example = examples(row)[0]
    parent_id = row.parent_id(example.id)
    names = {**(row.names(example.id) or {}), "id": row.existence_id(example.id), "parent": parent_id}
    for condition in row.requires:
        detail, remedy = condition.told("Odd", names)
        assert "az " in remedy
        assert "{" not in detail + remedy
        looked_at = parent_id if condition.of_parent else names["id"]
        assert looked_at.rsplit("/", 1)[-1] in remedy
        assert not (condition.code and condition.waits)
        assert not condition.waits or condition.waits in retry.WAITS


def test_a_place_that_is_not_there_is_an_empty_text():
    condition = Condition(
        finding="f",
        paths=("a.b", "c"),
        expected=frozenset({"", "yes"}),
        refused=frozenset(),
        code="",
        waits="",
        of_parent=False,
        detail="{value}",
        remedy="",
    )
    assert condition.unmet({}) is None
    assert condition.unmet({"a": {"b": "YES"}}) is None
    assert condition.unmet({"a": "x", "c": "No"}) == "No"
    assert condition.told("", {}) == ("nothing", "")
    assert not condition.hinders


# --- preflight -----------------------------------------------------------------------------------


async def test_a_vault_that_goes_by_access_policies_is_refused_before_anything_is_made(vault: Bench):
    change(vault, enableRbacAuthorization=False)
    before = vault.world()
    with pytest.raises(PermanentError) as caught:
        await vault.apply("preflight")
    assert caught.value.code == "target-rbac-off"
    command = f"az keyvault update --name orders --resource-group rg --subscription {SUBSCRIPTION}"
    assert caught.value.remedy.startswith(f"{command} --enable-rbac-authorization true")
    assert vault.world() == before
    change(vault, enableRbacAuthorization=True)
    assert "warnings" not in (await vault.apply("preflight")).outputs


async def test_a_target_that_is_being_made_is_waited_for_though_it_has_no_endpoint_yet(vault: Bench):
    change(vault, provisioningState="RegisteringDns", vaultUri=None)
    with pytest.raises(NotYetError, match="target-updating: the target is RegisteringDns"):
        await vault.apply("preflight")
    change(vault, provisioningState="Succeeded")
    with pytest.raises(PermanentError, match="endpoint-missing"):
        await vault.apply("preflight")


async def test_a_closed_firewall_is_said_and_hinders_nothing(vault: Bench):
    change(vault, publicNetworkAccess="Enabled", networkAcls={"defaultAction": "Deny"})
    await vault.up_to("settings")
    [said] = vault.intents["preflight"].outputs["warnings"]
    assert (said["name"], said["result"]) == ("network", "failed")
    assert said["detail"] == "closed: the target's firewall says Deny"
    assert "private-endpoint" in said["remedy"]
    assert VAULT in said["remedy"]
    assert (await vault.check("preflight"))["network"].result == "failed"


async def test_a_repair_finds_what_was_switched_off_since(vault: Bench):
    await vault.up_to("settings")
    change(vault, enableRbacAuthorization=False)
    vault.become(Kind.REPAIR)
    with pytest.raises(PermanentError, match="target-rbac-off"):
        await vault.apply("preflight")


@pytest.mark.parametrize("finding", CHANGES)
async def test_a_validation_has_a_line_for_each_condition_that_can_fail(vault: Bench, finding: str):
    await vault.up_to("settings")
    fine = await vault.check("preflight")
    assert {fine[name].result for name in CHANGES} == {"ok"}
    change(vault, **CHANGES[finding])
    found = await vault.check("preflight")
    wanted = "warning" if finding == "target-healthy" else "failed"
    assert {name: one.result for name, one in found.items() if one.result != "ok"} == {finding: wanted}
    assert found[finding].detail
    assert found[finding].remedy


async def test_a_missing_target_has_no_conditions_to_fail(vault: Bench):
    await vault.up_to("settings")
    vault.app.world.remove(VAULT)
    found = await vault.check("preflight")
    assert found["target-exists"].result == "failed"
    assert not set(found) & {*CHANGES, "target-unlocked", "role-assignment-room"}


async def test_a_wait_for_a_target_that_never_is_ready_ends_with_its_code(tmp_path: Path):
    app = make_app(tmp_path)
    app.world.resources[naming.fold_id(STORAGE)]["properties"]["provisioningState"] = "Creating"
    record = await app.send(create_body())
    await app.settle(seconds=10_000)
    [operation] = await app.operations(record.connection_id)
    assert (operation.state.value, operation.code) == ("failed", "target-never-ready")
    assert app.leftovers()["identities"] == []
