"""What does not come together is told with its reason and not put on record: no guess, no forgery."""

import dataclasses
import json
from collections.abc import Callable

import pytest

from shared import naming
from shared.inscription import ANNOTATION_REQUEST
from shared.ports import Identity, Upsert
from shared.steps.base import LABEL_CONNECTION, LABEL_WORKLOAD
from shared.users import USERS_LIMIT
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, VAULT, LocalApp, delete_body
from tests.fakes.recoveries import (
    account_of,
    claim,
    identity_key,
    lose_tables,
    outcomes,
    recovered,
    secret_of,
)
from tests.fakes.sweeps import connected

OTHER = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/canary"
GIVEN = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/given"
ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


def add_other_account(app: LocalApp) -> None:
    app.world.add_resource(OTHER, {"properties": {"primaryEndpoints": {"blob": "https://canary/"}}})


def add_given(app: LocalApp) -> None:
    app.world.identities[naming.fold_id(GIVEN)] = Identity(
        resource_id=GIVEN, client_id=app.world.guid(), principal_id=app.world.guid(), location="x", tags={}
    )
    app.world.credentials[naming.fold_id(GIVEN)] = {}


def another_target(app: LocalApp) -> None:
    """The namespace's owner would like the rights of another account; the policy allows its type."""
    add_other_account(app)
    claim(app, target_id=OTHER)


def wider_intent(app: LocalApp) -> None:
    claim(app, intent="manage")


def another_identity(app: LocalApp) -> None:
    """An identity that the policy lists for this namespace, and that does not trust this account."""
    add_given(app)
    app.policy_file.write_text(app.policy_file.read_text() + f'identities = ["{GIVEN}"]\n')
    claim(app, identity_id=GIVEN)


def unlisted_identity(app: LocalApp) -> None:
    add_given(app)
    claim(app, identity_id=GIVEN)


def another_workload(app: LocalApp) -> None:
    claim(app, workload="payments")


def another_name(app: LocalApp) -> None:
    claim(app, name="payments")


def another_label(app: LocalApp) -> None:
    secret_of(app).labels[LABEL_CONNECTION] = "0" * 24


def unknown_type(app: LocalApp) -> None:
    claim(app, target_type="mainframe")


def unknown_property(app: LocalApp) -> None:
    claim(app, added_later="x")


def half_a_character(app: LocalApp) -> None:
    claim(app, name="orders-blob\ud800")


def no_text(app: LocalApp) -> None:
    del secret_of(app).annotations[ANNOTATION_REQUEST]


def no_json(app: LocalApp) -> None:
    secret_of(app).annotations[ANNOTATION_REQUEST] = "{"


def identity_gone(app: LocalApp) -> None:
    app.world.remove(identity_key(app))


def identity_untagged(app: LocalApp) -> None:
    key = identity_key(app)
    app.world.identities[key] = dataclasses.replace(app.world.identities[key], tags={})


def identity_is_the_kubelets(app: LocalApp) -> None:
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, forbidden_identities=(identity_key(app),))


def account_of_another_workload(app: LocalApp) -> None:
    account_of(app)[1].labels[LABEL_WORKLOAD] = "0" * 24


def credential_gone(app: LocalApp) -> None:
    app.world.credentials[identity_key(app)].clear()


def another_issuer(app: LocalApp) -> None:
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, issuer="https://issuer.example/rebuilt/")


def role_gone(app: LocalApp) -> None:
    app.world.assignments.clear()


def policy_changed(app: LocalApp) -> None:
    app.policy_file.write_text(app.policy_file.read_text().replace('"storage-blob", ', ""))


def endpoint_lost(app: LocalApp) -> None:
    app.world.add_resource(STORAGE, {"properties": {}})


DOUBTS: dict[Callable[[LocalApp], None], str] = {
    another_target: "role-missing",
    wider_intent: "role-missing",
    another_identity: "credential-missing",
    unlisted_identity: "policy-denied",
    another_workload: "identity-missing",
    another_name: "copied",
    another_label: "copied",
    unknown_type: "unknown-target-type",
    unknown_property: "no-inscription",
    half_a_character: "no-inscription",
    no_text: "no-inscription",
    no_json: "no-inscription",
    identity_gone: "identity-missing",
    identity_untagged: "identity-foreign",
    identity_is_the_kubelets: "identity-forbidden",
    account_of_another_workload: "account-foreign",
    credential_gone: "credential-missing",
    another_issuer: "credential-missing",
    role_gone: "role-missing",
    policy_changed: "policy-denied",
    endpoint_lost: "endpoint-missing",
}


@pytest.mark.parametrize(("change", "reason"), DOUBTS.items(), ids=lambda one: getattr(one, "__name__", one))
async def test_what_does_not_come_together_is_told_and_not_recorded(
    change: Callable[[LocalApp], None], reason: str, app: LocalApp
):
    await connected(app)
    lose_tables(app)
    change(app)
    result = await recovered(app)
    [one] = result["connections"]
    assert (one["outcome"], one["reason"]) == ("not-recovered", reason)
    assert result["totals"]["reasons"] == {reason: 1}
    assert (app.store.rows("connections"), app.store.rows("users")) == ([], [])


async def test_half_of_a_vaults_object_does_not_end_the_recovery_of_a_cluster(app: LocalApp):
    app.clusters.set_secrets_store(CLUSTER, on=True)
    app.world.resources[naming.fold_id(VAULT)]["properties"]["tenantId"] = (
        "99999999-9999-4999-8999-999999999999"
    )
    mounted = {"settingsIn": "secretProviderClass", "vaultObjects": [{"name": "p", "type": "secret"}]}
    await connected(app, target={"type": "keyvault", "id": VAULT}, **mounted)
    lose_tables(app)
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    annotations = objects["SecretProviderClass", "shop", "sc-ordersblob-secretproviderclass"].annotations
    told = {**json.loads(annotations[ANNOTATION_REQUEST]), "vault_objects": {"p": {}}}
    annotations[ANNOTATION_REQUEST] = json.dumps(told)
    result = await recovered(app)
    assert result["details"] == {}
    assert [one["reason"] for one in result["connections"]] == ["no-inscription"]


async def test_a_create_request_takes_over_what_a_recovery_could_not_tell(app: LocalApp):
    await connected(app)
    lose_tables(app)
    no_text(app)
    assert outcomes(await recovered(app)) == {"Secret sc-ordersblob-secret": "no-inscription"}
    await connected(app)
    assert outcomes(await recovered(app)) == {"orders-blob": "on-record"}
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600.0)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_an_additional_setting_that_somebody_took_out_of_the_secret_is_not_made_up(app: LocalApp):
    await connected(app, additionalSettings={"REGION": "west"})
    lose_tables(app)
    del secret_of(app).data["REGION"]
    assert outcomes(await recovered(app)) == {"orders-blob": "no-inscription"}


async def test_a_thing_with_too_many_users_takes_no_more(app: LocalApp):
    await connected(app)
    [identity] = [row for row in app.store.rows("users") if "identity|" in str(row.columns["body"])]
    many = [{"connection_id": f"{number:024x}", "generation": 1} for number in range(USERS_LIMIT)]
    body = json.dumps({**json.loads(str(identity.columns["body"])), "users": many})
    lose_tables(app)
    full = Upsert(key=identity.key, columns={**identity.columns, "body": body})
    await app.store.transact("users", identity.partition, [full])
    assert outcomes(await recovered(app)) == {"orders-blob": "too-many-users"}


async def test_a_row_of_another_version_is_somebodys_and_is_left_as_it_is(app: LocalApp):
    await connected(app)
    [row] = [row for row in app.store.rows("connections") if row.key == "a|connection"]
    lose_tables(app)
    newer = {**row.columns, "body": '{"schema": 2}'}
    await app.store.transact("connections", row.partition, [Upsert(key=row.key, columns=newer)])
    assert outcomes(await recovered(app)) == {"orders-blob": "on-record"}
    assert [one.columns for one in app.store.rows("connections")] == [newer]
