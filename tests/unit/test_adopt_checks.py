"""What a look at an adopted connection finds: the recorded things, and of unknown kinds what can be known."""

from typing import Any

import pytest

from shared import naming
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, LocalApp, make_app
from tests.fakes.their_linker import (
    ASSIGNMENT,
    CREDENTIAL,
    IDENTITY,
    LINKER,
    POLICY,
    SECRET,
    THEIRS,
    TheirLinker,
    make_linker,
)
from tests.unit.test_adopt_records import adopted

SERVER = f"{GROUP}/providers/Microsoft.DBforMySQL/flexibleServers/my"
DATABASE = f"{SERVER}/databases/orders"
ENDPOINT = "AZURE_STORAGEBLOB_RESOURCEENDPOINT"


@pytest.fixture
async def theirs(app: LocalApp) -> TheirLinker:
    made = make_linker(app)
    assert (await adopted(app)).outcome == "opened"
    return made


async def look(app: LocalApp) -> dict[str, dict[str, Any]]:
    body = {"action": "validate", "connectionId": THEIRS}
    record = await app.send(body, message_id=f"look-{len(app.journal.calls)}")
    assert record.outcome == "opened"
    await app.settle()
    snapshot = await app.services.state.load(record.operation_id)
    assert snapshot is not None
    return {one["name"]: one for step in snapshot.steps.values() for one in step.value.outputs["findings"]}


async def not_well(app: LocalApp) -> dict[str, str]:
    return {name: one["result"] for name, one in (await look(app)).items() if one["result"] != "ok"}


def secret(app: LocalApp) -> dict[str, str]:
    return app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", SECRET].data


async def test_a_whole_one_is_well_but_for_the_proof_that_is_off(app: LocalApp, theirs: TheirLinker):
    assert await not_well(app) == {"access-proved": "unknown"}


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
async def test_a_linker_that_did_not_succeed_is_found(app: LocalApp, theirs: TheirLinker, state: str):
    theirs.change(provisioning_state=state)
    found = (await look(app))["linker-alive"]
    assert (found["result"], found["remedy"]) == ("failed", f"az aks connection update --id {LINKER}")
    assert state in found["detail"]


async def test_what_a_living_linker_has_lost_is_its_owners_to_mend(app: LocalApp, theirs: TheirLinker):
    del app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", SECRET]
    found = (await look(app))["settings-exist"]
    assert (found["result"], found["remedy"]) == ("failed", f"az aks connection update --id {LINKER}")


async def test_a_linker_that_is_gone_is_found(app: LocalApp, theirs: TheirLinker):
    theirs.delete()
    found = await look(app)
    failed = {name for name, one in found.items() if one["result"] == "failed"}
    assert failed == {"linker-alive", "credential-exists", "role-assigned"}
    assert "gone" in found["linker-alive"]["detail"]


BROKEN = {
    "role": ({"role-assigned": "failed"}, lambda app: app.world.assignments.clear()),
    "credential": (
        {"credential-exists": "failed"},
        lambda app: app.world.credentials[naming.fold_id(IDENTITY)].pop(CREDENTIAL),
    ),
    "identity": (
        {"identity-exists": "failed", "credential-exists": "failed"},
        lambda app: app.world.remove(IDENTITY),
    ),
    "secret": (
        {"settings-exist": "failed"},
        lambda app: app.world.clusters[naming.fold_id(CLUSTER)].objects.pop(("Secret", "shop", SECRET)),
    ),
    "key": ({"settings-keys": "failed"}, lambda app: secret(app).pop(ENDPOINT)),
    "empty value": ({"settings-keys": "failed"}, lambda app: secret(app).update({ENDPOINT: ""})),
    "value": (
        {"settings-keys": "failed"},
        lambda app: secret(app).update({ENDPOINT: "https://elsewhere.example/"}),
    ),
    "target": ({"target-exists": "failed", "role-assigned": "failed"}, lambda app: app.world.remove(STORAGE)),
}


@pytest.mark.parametrize("what", sorted(BROKEN))
async def test_what_is_broken_is_found(app: LocalApp, theirs: TheirLinker, what: str):
    expected, break_it = BROKEN[what]
    break_it(app)
    assert await not_well(app) == {**expected, "access-proved": "unknown"}


async def test_a_slash_at_the_end_of_a_value_and_keys_of_its_owners_choice_are_no_fault(app: LocalApp):
    make_linker(app)
    values = secret(app)
    values[ENDPOINT] = values[ENDPOINT].rstrip("/")
    values["MY_CLIENT_ID"] = values.pop("AZURE_STORAGEBLOB_CLIENTID")
    await adopted(app)
    assert await not_well(app) == {"access-proved": "unknown"}


async def test_what_was_not_there_when_it_was_adopted_is_said(app: LocalApp):
    made = make_linker(app)
    made.delete()
    make_linker(app)
    app.world.assignments.clear()
    app.world.credentials[naming.fold_id(IDENTITY)].clear()
    await adopted(app)
    found = await look(app)
    assert (found["credential-exists"]["result"], found["credential-exists"]["detail"]) == (
        "failed",
        "none recorded",
    )
    assert found["role-assigned"]["result"] == "unknown"


@pytest.mark.parametrize("listed", [True, False])
async def test_of_a_target_that_the_catalogue_does_not_offer_existence_and_keys_are_looked_at(
    app: LocalApp, listed: bool
):
    made = make_linker(app, target=DATABASE)
    app.policy_file.write_text(POLICY.replace('"storage-blob"', '"mysql-flexible"'))
    if listed:
        app.world.add_resource(SERVER)
    secret(app).clear()
    secret(app)["AZURE_MYSQL_HOST"] = "my"
    assert (await adopted(app)).outcome == "opened"
    expected = {"role-assigned": "unknown", "access-proved": "unknown"}
    assert await not_well(app) == expected | ({} if listed else {"target-exists": "unknown"})
    secret(app).clear()
    assert (await look(app))["settings-keys"]["result"] == "failed"
    assert made.identity


@pytest.mark.parametrize("offered", [True, False])
async def test_access_is_proved_where_the_catalogue_says_how_to_read(tmp_path: Any, offered: bool):
    app = make_app(tmp_path, MOORING_PROVE="on")
    make_linker(app, target=STORAGE if offered else DATABASE)
    app.policy_file.write_text(POLICY.replace('"storage-blob"', '"storage-blob", "mysql-flexible"'))
    await adopted(app)
    found = (await look(app))["access-proved"]
    assert found["result"] == ("ok" if offered else "unknown")


async def test_a_target_that_was_gone_already_is_adopted_without_its_facts(app: LocalApp):
    made = make_linker(app)
    app.world.remove(STORAGE)
    made.grant(STORAGE, ASSIGNMENT)
    assert (await adopted(app)).outcome == "opened"
    found = await look(app)
    assert found["target-exists"]["result"] == "failed"
    assert found["settings-keys"]["result"] == "ok"
    assert "facts" not in (await app.services.state.intents(THEIRS))["preflight"].outputs


async def test_a_look_at_one_adopted_for_pruning_only_when_all_is_gone(app: LocalApp):
    made = make_linker(app)
    made.change(auth_type="secret", client_id="")
    await adopted(app)
    app.world.remove(LINKER)
    app.world.clusters[naming.fold_id(CLUSTER)].objects.clear()
    found = await look(app)
    assert {name for name, one in found.items() if one["result"] == "failed"} == {
        "linker-alive",
        "settings-exist",
    }
    assert "not an identity" in found["adopted-as-a-whole"]["detail"]
    app.world.clusters.clear()
    assert (await look(app))["cluster-exists"]["result"] == "failed"
