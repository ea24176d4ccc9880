"""What does not come together is told with its reason and not put on record: no guess, no forgery."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import inscription, naming
from shared.errors import PermanentError, TransientError
from shared.inscription import ANNOTATION_REQUEST
from shared.ports import Identity, RoleAssignment
from shared.spec import ConnectionSpec
from shared.steps.base import LABEL_CONNECTION, LABEL_WORKLOAD
from tests.fakes.azure_world import StoredObject
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, VAULT, LocalApp, create_body, delete_body, make_app
from tests.fakes.recoveries import answered, begun, finished, lose_tables, outcomes, recovered
from tests.fakes.sweeps import connected, pumped

OTHER = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/canary"
GIVEN = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/given"
ID = naming.connection_id(CLUSTER, "shop", "orders-blob")


def secret_of(app: LocalApp, name: str = "ordersblob") -> StoredObject:
    return app.world.clusters[naming.fold_id(CLUSTER)].objects["Secret", "shop", f"sc-{name}-secret"]


def account_of(app: LocalApp) -> tuple[tuple[str, str, str], StoredObject]:
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    [key] = [one for one in objects if one[0] == "ServiceAccount"]
    return key, objects[key]


def identity_key(app: LocalApp) -> str:
    [key] = [one for one in app.world.identities if "mooring-" in one]
    return key


def claim(app: LocalApp, **changes: Any) -> None:
    """Whoever may write the secret writes another wish on it."""
    annotations = secret_of(app).annotations
    annotations[ANNOTATION_REQUEST] = json.dumps({**json.loads(annotations[ANNOTATION_REQUEST]), **changes})


def add_other_account(app: LocalApp) -> None:
    app.world.add_resource(OTHER, {"properties": {"primaryEndpoints": {"blob": "https://canary/"}}})


def add_given(app: LocalApp) -> None:
    app.world.identities[naming.fold_id(GIVEN)] = Identity(
        resource_id=GIVEN, client_id=app.world.guid(), principal_id=app.world.guid(), location="x", tags={}
    )
    app.world.credentials[naming.fold_id(GIVEN)] = {}


# --- forged, edited, lost: the reason of each -----------------------------------------------------


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
    no_text(app)
    assert outcomes(await recovered(app)) == {
        "Secret sc-ordersblob-secret": "no-inscription",
        "other": "sibling-not-recovered",
        "elsewhere": "recovered",
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


# --- clusters that cannot be looked at ------------------------------------------------------------


def unreachable(app: LocalApp) -> None:
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = False


def may_not_list(app: LocalApp) -> None:
    app.clusters.may_list = False


def unreadable_policy(app: LocalApp) -> None:
    app.policy_file.write_text("version = 2")


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (unreachable, "unreachable"),
        (may_not_list, "objects-not-listed"),
        (unreadable_policy, "policy-unreadable"),
        (lambda app: app.world.remove(CLUSTER), "cluster-gone"),
    ],
    ids=["unreachable", "may-not-list", "policy", "gone"],
)
async def test_a_cluster_that_cannot_be_looked_at_is_told_and_nothing_is_recorded(
    change: Callable[[LocalApp], None], detail: str, app: LocalApp
):
    await connected(app)
    lose_tables(app)
    change(app)
    result = await recovered(app)
    assert (result["state"], result["connections"]) == ("done", [])
    assert detail in result["details"]


async def test_a_cluster_that_no_rule_lists_is_asked_nothing(app: LocalApp):
    await connected(app)
    lose_tables(app)
    app.policy_file.write_text(
        app.policy_file.read_text().replace("managedClusters/aks1", "managedClusters/aks2")
    )
    since = len(app.journal.calls)
    assert (await recovered(app))["connections"] == []
    asked = {call.name for call in app.journal.calls[since:] if call.name.startswith("clusters.")}
    assert asked <= {"clusters.describe"}


async def test_clusters_that_the_policy_names_by_pattern_are_found_in_azure(app: LocalApp):
    await connected(app)
    lose_tables(app)
    app.policy_file.write_text(
        app.policy_file.read_text().replace("managedClusters/aks1", "managedClusters/*")
    )
    assert outcomes(await recovered(app)) == {"orders-blob": "recovered"}


async def test_a_subscription_that_may_not_be_listed_leaves_those_that_the_policy_names(app: LocalApp):
    await connected(app)
    lose_tables(app)

    def refused(call: Call) -> BaseException | None:
        return PermanentError("access-denied") if call.name == "resources.list" else None

    app.journal.before = refused
    assert outcomes(await recovered(app)) == {"orders-blob": "recovered"}


# --- slices, crashes, races -----------------------------------------------------------------------


class Crash(BaseException):
    """The host dies."""


async def two(app: LocalApp) -> None:
    await connected(app)
    await connected(app, "orders-keys", target={"type": "keyvault", "id": VAULT})
    lose_tables(app)


async def test_a_recovery_goes_on_in_new_messages_when_its_time_is_up(tmp_path: Path):
    app = make_app(tmp_path, MOORING_SWEEP_SLICE_SECONDS="60")
    for number in range(5):
        await connected(app, f"orders{number}", workload=f"orders{number}")
    lose_tables(app)

    def slow(call: Call) -> None:
        if call.name == "identities.list_credentials":
            app.clock.advance(61)

    app.journal.before = slow
    result = await recovered(app)
    assert outcomes(result) == {f"orders{number}": "recovered" for number in range(5)}
    assert result["totals"]["connections"] == {"recovered": 5}
    assert [one["messages"] for one in result["slices"]] == [5]


async def test_a_recovery_that_dies_anywhere_is_carried_to_its_end(tmp_path: Path):
    whole = make_app(tmp_path)
    await two(whole)
    since = len(whole.journal.calls)
    await recovered(whole)
    calls = len(whole.journal.calls) - since
    wanted = bodies(whole)
    died = 0
    for number in range(1, calls + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        app = make_app(folder)
        await two(app)
        recovery_id = await begun(app, write=True)
        first = len(app.journal.calls)

        def crash(call: Call, at: int = first + number) -> BaseException | None:
            return Crash() if call.number == at else None

        app.journal.after = crash
        try:
            await pumped(app)
        except Crash:
            died += 1
        app.journal.after = None
        app.clock.advance(400)
        await app.services.sweeping.sweeper.tend()
        result = await finished(app, recovery_id)
        assert result["state"] == "done"
        assert set(outcomes(result).values()) <= {"recovered", "on-record"}
        assert bodies(app) == wanted, f"died at call {number}"
    assert died > 25


def bodies(app: LocalApp) -> list[tuple[str, str, str]]:
    found = []
    for table in ("connections", "users", "dependents"):
        for row in app.store.rows(table):
            body = json.loads(str(row.columns["body"]))
            body.pop("users", None)  # in the order in which they came
            text = re.sub(r'"nonce": "\w+"', '"nonce": ""', json.dumps(body, sort_keys=True))
            found.append((row.partition, row.key, text))
    return found


async def test_azures_hiccups_are_tried_again(app: LocalApp):
    await two(app)
    left = [3]

    def hiccup(call: Call) -> BaseException | None:
        if call.name == "roles.list_for_principal" and left[0]:
            left[0] -= 1
            return TransientError("service-unavailable")
        return None

    app.journal.before = hiccup
    assert set(outcomes(await recovered(app)).values()) == {"recovered"}


async def test_a_create_that_comes_first_is_left_as_it_is(app: LocalApp):
    """Between the look and the write of a recovery somebody sends the create request again."""
    await connected(app)
    lose_tables(app)
    sent: list[Any] = []

    async def race(seen: Any, *, now: Any) -> bool:
        sent.append(await app.send(create_body(), message_id="again"))
        return bool(await write(seen, now=now))

    worker = app.services.sweeping.slices.workers["recovery"]
    write = worker.rebuilder.write  # type: ignore[attr-defined]
    object.__setattr__(worker, "rebuilder", type("Racing", (), {"write": staticmethod(race)})())
    assert outcomes(await recovered(app)) == {"orders-blob": "on-record"}
    await app.settle()
    assert (sent[0].outcome, await app.state(ID)) == ("opened", "configured")
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600.0)
    assert app.leftovers() == {"identities": [], "assignments": [], "objects": [], "users": []}


async def test_a_recovery_that_was_cut_while_azure_did_not_answer_is_cut_by_the_timer(app: LocalApp):
    await connected(app)
    lose_tables(app)
    app.journal.before = lambda call: TransientError("timeout") if call.name == "resources.list" else None
    with pytest.raises(TransientError):
        await begun(app, write=True)
    app.journal.before = None
    current = await app.services.sweeping.sweeps.current()
    assert current is not None
    assert await app.services.sweeping.sweeper.tend() == 1
    assert outcomes(await finished(app, current.value.sweep_id)) == {"orders-blob": "recovered"}
    assert (await answered(app, current.value.sweep_id))["askedBy"] == "recovery"


# --- the inscription ------------------------------------------------------------------------------

SPEC = ConnectionSpec(
    name="Orders-1",
    cluster_id=CLUSTER,
    namespace="shop",
    workload="orders",
    target_type="storage-blob",
    target_id=STORAGE,
    client_type="python",
    customized_keys={"A": "B"},
    additional_settings={"REGION": "west"},
)


def test_an_inscription_tells_the_wish_again():
    text = inscription.text_of(SPEC)
    assert "west" not in text, "values are in the secret"
    assert inscription.additional(text) == ("REGION",)
    told = inscription.spec_of(text, cluster_id=CLUSTER, namespace="shop", data={"REGION": "west", "X": "y"})
    assert told == SPEC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "[" * 5000,
        "x" * 20_000,
        '{"name": 7}',
        '{"name": "a"}',
        '{"additional_settings": "x"}',
        '{"additional_settings": [1]}',
        '{"name": "a", "cluster_id": "other"}',
    ],
)
def test_what_is_no_inscription_tells_nothing(text: str):
    assert inscription.spec_of(text, cluster_id=CLUSTER, namespace="shop") is None


@pytest.mark.parametrize("data", [None, {}, {"OTHER": "x"}])
def test_an_inscription_whose_settings_the_secret_lacks_tells_nothing(data: dict[str, str] | None):
    text = inscription.text_of(SPEC)
    assert inscription.spec_of(text, cluster_id=CLUSTER, namespace="shop", data=data) is None


def test_a_place_in_an_inscription_is_not_believed():
    text = json.dumps(
        {**json.loads(inscription.text_of(SPEC)), "cluster_id": "x", "namespace": "kube-system"}
    )
    told = inscription.spec_of(text, cluster_id=CLUSTER, namespace="shop", data={"REGION": "west"})
    assert told is not None
    assert (told.cluster_id, told.namespace) == (CLUSTER, "shop")
