"""Of connections that share an identity all are recovered or none; and what is missing of one that is."""

import dataclasses

from shared import naming
from shared.errors import PermanentError
from shared.inscription import ANNOTATION_REQUEST
from shared.ports import Identity, RoleAssignment
from shared.steps.base import LABEL_WORKLOAD
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, POLICY, VAULT, LocalApp, delete_body
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
ELSEWHERE = naming.connection_id(CLUSTER, "shop2", "elsewhere")


def add_other_account(app: LocalApp) -> None:
    app.world.add_resource(OTHER, {"properties": {"primaryEndpoints": {"blob": "https://canary/"}}})


def add_given(app: LocalApp) -> None:
    app.world.identities[naming.fold_id(GIVEN)] = Identity(
        resource_id=GIVEN, client_id=app.world.guid(), principal_id=app.world.guid(), location="x", tags={}
    )
    app.world.credentials[naming.fold_id(GIVEN)] = {}


# --- all of an identity's connections or none -----------------------------------------------------


async def test_of_connections_that_share_an_identity_all_are_recovered_or_none(app: LocalApp):
    """Else the one that is on record would be taken for the last user of what the other works through."""
    await connected(app)
    await connected(app, "orders-keys", target={"type": "keyvault", "id": VAULT})
    await connected(app, "other", workload="other")
    lose_tables(app)
    for key in [key for key in app.world.assignments if "keyvault" in key[0]]:
        del app.world.assignments[key]
    wanted = {"orders-blob": "sibling-not-recovered", "orders-keys": "role-missing", "other": "recovered"}
    assert outcomes(await recovered(app)) == wanted
    await connected(app, "orders-keys", target={"type": "keyvault", "id": VAULT})
    again = {"orders-blob": "recovered", "orders-keys": "on-record", "other": "on-record"}
    assert outcomes(await recovered(app)) == again
    await app.send(delete_body("orders-keys"), message_id="d")
    await app.settle(seconds=3600.0)
    assert account_of_workload(app, "orders"), "orders-blob still works through it"


async def test_namespaces_that_may_not_be_listed_may_hold_more_of_an_identity_that_requests_name(
    app: LocalApp,
):
    """The policy lists them by a pattern, and the role for sweeps is bound in namespaces alone."""
    add_given(app)
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.add("shop2")
    listing = POLICY.replace('namespaces = ["*"]', 'namespaces = ["shop", "shop?"]')
    app.policy_file.write_text(listing + f'identities = ["{GIVEN}"]\n')
    await connected(app, identityId=GIVEN)
    await connected(app, "elsewhere", namespace="shop2", identityId=GIVEN)
    await connected(app, "of-its-own", workload="other")
    roles = dict(app.world.assignments)
    lose_tables(app)

    def refused(call: Call) -> BaseException | None:
        listed = call.name == "clusters.list_namespaces"
        return PermanentError("kubernetes-access-denied") if listed else None

    app.journal.before = refused
    result = await recovered(app)
    assert outcomes(result) == {"orders-blob": "sibling-not-recovered", "of-its-own": "recovered"}
    assert "namespaces-not-listed" in result["details"]
    await app.send({"action": "delete", "connectionId": ID}, message_id="d")
    await app.settle(seconds=3600.0)
    assert app.world.assignments == roles, "elsewhere works through one of them"
    app.journal.before = None
    again = {"elsewhere": "recovered", "orders-blob": "recovered", "of-its-own": "on-record"}
    assert outcomes(await recovered(app)) == again
    lose_tables(app)
    app.policy_file.write_text(listing.replace('"shop?"', '"shop2"') + f'identities = ["{GIVEN}"]\n')
    app.journal.before = refused
    assert set(outcomes(await recovered(app)).values()) == {"recovered"}, "no pattern is left unfilled"


def account_of_workload(app: LocalApp, workload: str) -> list[tuple[str, str, str]]:
    key = naming.workload_key(CLUSTER, "shop", workload)
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    return [one for one, found in objects.items() if found.labels.get(LABEL_WORKLOAD) == key]


async def test_a_secret_that_tells_nothing_may_be_of_any_workload_of_its_namespace(app: LocalApp):
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.add("shop2")
    await connected(app)
    await connected(app, "other", workload="other")
    await connected(app, "elsewhere", namespace="shop2")
    lose_tables(app)
    del secret_of(app).annotations[ANNOTATION_REQUEST]
    assert outcomes(await recovered(app)) == {
        "Secret sc-ordersblob-secret": "no-inscription",
        "other": "sibling-not-recovered",
        "elsewhere": "recovered",
    }


async def test_a_secret_that_tells_nothing_may_be_of_any_identity_that_requests_name(app: LocalApp):
    """Such an identity serves other namespaces too: a delete would take the right that they share."""
    add_given(app)
    app.policy_file.write_text(POLICY + f'identities = ["{GIVEN}"]\n')
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.add("shop2")
    await connected(app, "elsewhere", namespace="shop2", identityId=GIVEN)
    await connected(app, identityId=GIVEN)
    await connected(app, "of-its-own", workload="other", namespace="shop2")
    roles = dict(app.world.assignments)
    lose_tables(app)
    inscription = secret_of(app).annotations.pop(ANNOTATION_REQUEST)
    assert outcomes(await recovered(app)) == {
        "Secret sc-ordersblob-secret": "no-inscription",
        "elsewhere": "sibling-not-recovered",
        "of-its-own": "recovered",
    }
    await app.send({"action": "delete", "connectionId": ELSEWHERE}, message_id="d")
    await app.settle(seconds=3600.0)
    assert app.world.assignments == roles, "orders-blob works through one of them"
    secret_of(app).annotations[ANNOTATION_REQUEST] = inscription
    again = {"elsewhere": "recovered", "orders-blob": "recovered", "of-its-own": "on-record"}
    assert outcomes(await recovered(app)) == again


async def test_a_secret_that_tells_nothing_may_be_of_a_made_identity_that_the_policy_lists(app: LocalApp):
    """Mooring made it for one workload, and a request of another namespace may name it all the same."""
    app.world.clusters[naming.fold_id(CLUSTER)].namespaces.add("shop2")
    await connected(app)
    [identity] = app.world.identities.values()
    app.policy_file.write_text(POLICY + f'identities = ["{identity.resource_id}"]\n')
    await connected(
        app, "elsewhere", namespace="shop2", workload="other", identityId=identity.resource_id.upper()
    )
    lose_tables(app)
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    del objects["Secret", "shop2", "sc-elsewhere-secret"].annotations[ANNOTATION_REQUEST]
    assert outcomes(await recovered(app)) == {
        "Secret sc-elsewhere-secret": "no-inscription",
        "orders-blob": "sibling-not-recovered",
    }


async def test_a_copy_of_a_secret_in_another_namespace_is_nobodys_and_hinders_nobody(app: LocalApp):
    await connected(app)
    lose_tables(app)
    original = secret_of(app)
    app.clusters.put_object(
        CLUSTER,
        "Secret",
        "shop2",
        "sc-ordersblob-secret",
        labels=original.labels,
        annotations=original.annotations,
    )
    result = await recovered(app)
    assert {one["namespace"]: one["outcome"] for one in result["connections"]} == {
        "shop": "recovered",
        "shop2": "not-recovered",
    }


# --- what is missing of one that is recovered -----------------------------------------------------


async def test_a_lost_account_is_noted_and_made_anew_by_a_repair(app: LocalApp):
    await connected(app)
    key, _ = account_of(app)
    lose_tables(app)
    del app.world.clusters[naming.fold_id(CLUSTER)].objects[key]
    [one] = (await recovered(app))["connections"]
    assert (one["outcome"], one["notes"]) == ("recovered", ["account-missing"])
    await app.send({"action": "repair", "connectionId": ID}, message_id="r")
    await app.settle()
    assert account_of(app)[0] == key
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600.0)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_a_role_of_ours_that_nothing_explains_is_noted(app: LocalApp):
    await connected(app)
    add_other_account(app)
    identity = app.world.identities[identity_key(app)]
    role = next(iter(app.world.assignments.values())).role_definition_id
    name = naming.role_assignment_name(OTHER, identity.principal_id, role)
    app.world.assignments[naming.fold_id(OTHER), name] = RoleAssignment(
        scope=OTHER, name=name, principal_id=identity.principal_id, role_definition_id=role
    )
    lose_tables(app)
    [one] = (await recovered(app))["connections"]
    assert (one["outcome"], one["notes"]) == ("recovered", ["roles-left"])


async def test_a_role_and_a_credential_of_others_are_used_and_stay_when_the_connection_goes(app: LocalApp):
    await connected(app)
    lose_tables(app)
    [(key, assignment)] = app.world.assignments.items()
    del app.world.assignments[key]
    theirs = dataclasses.replace(assignment, name="00000000-0000-4000-8000-00000000ffff")
    app.world.assignments[key[0], theirs.name] = theirs
    assert outcomes(await recovered(app)) == {"orders-blob": "recovered"}
    intents = await app.services.state.intents(ID)
    [made] = intents["role_assignments"].outputs["assignments"]
    assert (made["name"], made["provenance"]) == (theirs.name, "adopted")
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600.0)
    assert app.leftovers()["assignments"] == [theirs.name]


async def test_a_connection_by_a_key_is_told_and_hinders_nobody(app: LocalApp):
    """It shares neither identity nor account with others of its workload."""
    await connected(app)
    await connected(app, "orders-keys", target={"type": "keyvault", "id": VAULT})
    lose_tables(app)
    claim(app, auth_type="secret")
    assert outcomes(await recovered(app)) == {"orders-blob": "connected-by-key", "orders-keys": "recovered"}
