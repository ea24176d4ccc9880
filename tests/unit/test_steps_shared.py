"""What holds for every step that makes something: again, already there, already gone, shared, reported."""

import dataclasses

import pytest

from shared import naming, plans
from shared.errors import NotYetError, PermanentError, TransientError
from shared.models import Kind
from shared.ports import Credential, Identity, RoleAssignment
from shared.steps.base import ANNOTATION_CLIENT_ID
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, LocalApp
from tests.fakes.step_bench import Bench

MAKERS = plans.REVERT
THEIRS = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/theirs"


@pytest.fixture
def bench(app: LocalApp) -> Bench:
    return Bench(app)


def writes(app: LocalApp, since: int = 0) -> list[str]:
    verbs = ("ensure", "apply", "delete")
    return [
        name
        for name in app.journal.names()[since:]
        if name.partition(".")[2].startswith(verbs) and not name.startswith(("state", "queue"))
    ]


# --- again and again -----------------------------------------------------------------------------


@pytest.mark.parametrize("step", MAKERS)
async def test_applying_twice_is_applying_once(bench: Bench, step: str):
    await bench.up_to(step)
    world, outputs = bench.world(), bench.intents[step].outputs
    again = await bench.apply(step)
    assert bench.world() == world
    assert again.outputs == outputs


@pytest.mark.parametrize("step", MAKERS)
async def test_what_a_crash_left_unrecorded_is_found_and_not_made_twice(bench: Bench, step: str):
    await bench.up_to(step)
    world, outputs = bench.world(), bench.intents[step].outputs
    bench.lose_record(step)
    assert (await bench.apply(step)).outputs == outputs
    assert bench.world() == world


@pytest.mark.parametrize("step", MAKERS)
async def test_what_was_made_is_removed_and_removing_twice_is_fine(bench: Bench, step: str):
    await bench.up_to(step)
    made = bench.world()
    bench.become(Kind.DELETE)
    assert (await bench.revert(step)).outputs["removed"]
    gone = bench.world()
    assert gone != made
    await bench.revert(step)
    assert bench.world() == gone


@pytest.mark.parametrize("step", MAKERS)
async def test_what_a_crash_left_unrecorded_is_removed_all_the_same(bench: Bench, step: str):
    before = bench.world() if step == MAKERS[0] else None
    await bench.up_to(step)
    made = bench.world()
    bench.lose_record(step)
    bench.become(Kind.DELETE)
    assert (await bench.revert(step)).outputs["removed"]
    assert bench.world() not in (made, before)


@pytest.mark.parametrize("step", MAKERS)
async def test_what_somebody_else_removed_already_is_no_error_and_no_second_delete_harms(
    bench: Bench, step: str
):
    await bench.up_to("settings")
    bench.app.world.identities.clear()
    bench.app.world.credentials.clear()
    bench.app.world.assignments.clear()
    bench.app.world.clusters[naming.fold_id(CLUSTER)].objects.clear()
    bench.become(Kind.DELETE)
    await bench.revert(step)
    things = [
        row
        for row in bench.app.store.rows("users")
        if f'"thing":"{_prefix(step)}|' in str(row.columns["body"])
    ]
    assert things == [], "nobody uses what is gone"


def _prefix(step: str) -> str:
    return {
        "managed_identity": "identity",
        "role_assignments": "role",
        "federated_credential": "credential",
        "service_account": "account",
        "settings": "nothing",
    }[step]


@pytest.mark.parametrize("step", MAKERS)
async def test_what_was_never_made_is_not_looked_for(bench: Bench, step: str):
    bench.become(Kind.DELETE)
    result = await bench.revert(step)
    assert not result.outputs.get("removed")
    assert bench.app.journal.names() == []


@pytest.mark.parametrize("step", [*plans.CREATE, "quiesce", "confirm_gone", "verify_gone"])
async def test_every_step_can_be_checked_when_nothing_was_made_and_changes_nothing(bench: Bench, step: str):
    world = bench.world()
    findings = await bench.check(step)
    assert all(one.result in {"ok", "failed", "unknown"} for one in findings.values())
    if step in MAKERS:
        assert [one.result for one in findings.values()] == ["failed"]
    assert bench.world() == world
    assert writes(bench.app) == []


@pytest.mark.parametrize("step", ["preflight", "prove", "quiesce", "confirm_gone", "verify_gone"])
async def test_a_step_that_only_looks_has_nothing_to_revert(bench: Bench, step: str):
    assert (await bench.revert(step)).outputs == {}


# --- shared things -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step", ["managed_identity", "role_assignments", "federated_credential", "service_account"]
)
async def test_what_another_connection_uses_stays_until_that_one_goes_too(app: LocalApp, step: str):
    one, other = Bench(app), Bench(app, "orders-blob-2")
    await one.up_to("settings")
    await other.up_to("settings")
    shared = one.world()
    one.become(Kind.DELETE)
    outputs = (await one.revert(step)).outputs
    assert not outputs.get("removed")
    assert "still" in str(outputs["kept"])
    assert one.world() == shared
    other.become(Kind.DELETE)
    assert (await other.revert(step)).outputs["removed"]
    assert other.world() != shared


@pytest.mark.parametrize(
    "step", ["managed_identity", "role_assignments", "federated_credential", "service_account"]
)
async def test_a_newcomer_waits_while_the_last_user_removes_the_thing(app: LocalApp, step: str):
    one, other = Bench(app), Bench(app, "orders-blob-2")
    await one.up_to("settings")
    await other.up_to(plans.CREATE[plans.CREATE.index(step) - 1])
    one.become(Kind.DELETE)

    def rule(call: Call) -> BaseException | None:
        return TransientError("busy") if ".delete" in call.name else None

    app.journal.before = rule
    with pytest.raises(TransientError, match="busy"):
        await one.revert(step)
    app.journal.before = None
    with pytest.raises(NotYetError, match="closing"):
        await other.apply(step)
    await one.revert(step)
    if step != "managed_identity":
        assert (await other.apply(step)).outputs, "the thing is made anew"


@pytest.mark.parametrize("step", MAKERS)
async def test_a_report_changes_nothing_and_says_what_it_would_do(app: LocalApp, step: str):
    bench = Bench(app)
    await bench.up_to("settings")
    world, rows = bench.world(), [row.etag for row in app.store.rows("users")]
    calls = len(app.journal.names())
    bench.become(Kind.PRUNE, report_only=True)
    outputs = (await bench.revert(step)).outputs
    assert "would" in str(outputs)
    assert not outputs.get("removed")
    assert bench.world() == world
    assert [row.etag for row in app.store.rows("users")] == rows
    assert writes(app, calls) == []


# --- in the way ----------------------------------------------------------------------------------


async def test_somebody_elses_identity_of_that_name_is_refused_and_kept(bench: Bench):
    await bench.up_to("managed_identity")
    [(key, identity)] = bench.app.world.identities.items()
    bench.app.world.identities[key] = dataclasses.replace(identity, tags={"owner": "them"})
    with pytest.raises(PermanentError, match="object-not-ours") as caught:
        await bench.apply("managed_identity")
    assert "identityId" in caught.value.remedy
    bench.become(Kind.DELETE)
    [kept] = (await bench.revert("managed_identity")).outputs["kept"]
    assert (kept["id"], kept["rule"]) == (
        bench.intents["managed_identity"].planned["resourceId"],
        "not-made-by-us",
    )
    assert bench.app.world.identities[key].tags == {"owner": "them"}


@pytest.mark.parametrize(("step", "kind"), [("service_account", "ServiceAccount"), ("settings", "Secret")])
async def test_somebody_elses_cluster_object_of_that_name_is_refused_and_kept(
    bench: Bench, step: str, kind: str
):
    await bench.up_to("federated_credential")
    client_id = bench.intents["managed_identity"].outputs["clientId"]
    name = {"Secret": "sc-ordersblob-secret", "ServiceAccount": f"sc-account-{client_id}"}[kind]
    labels = {
        "app.kubernetes.io/managed-by": "mooring",
        "mooring.dev/connection": "another",
        "mooring.dev/workload": "another",
    }
    theirs = bench.app.clusters.put_object(CLUSTER, kind, "shop", name, labels=labels)
    with pytest.raises(PermanentError, match="object-not-ours") as caught:
        await bench.apply(step)
    assert caught.value.remedy
    assert step not in bench.intents, "nothing was meant to be made"
    bench.become(Kind.DELETE)
    await bench.revert(step)
    assert bench.app.world.clusters[naming.fold_id(CLUSTER)].objects[kind, "shop", name].uid == theirs.uid


async def test_an_equal_role_assignment_of_somebody_else_is_used_and_never_deleted(bench: Bench):
    await bench.up_to("managed_identity")
    principal = bench.intents["managed_identity"].outputs["principalId"]
    role = bench.context("x").target.roles()[0]
    theirs = RoleAssignment(
        scope=STORAGE,
        name="00000000-aaaa-4aaa-8aaa-000000000000",
        principal_id=principal,
        role_definition_id=f"/x/roleDefinitions/{role.id}",
    )
    bench.app.world.assignments[naming.fold_id(STORAGE), theirs.name] = theirs
    outputs = (await bench.apply("role_assignments")).outputs
    assert [(one["name"], one["provenance"]) for one in outputs["assignments"]] == [(theirs.name, "adopted")]
    bench.become(Kind.DELETE)
    await bench.revert("role_assignments")
    assert len(bench.app.world.assignments) == 1
    assert not [row for row in bench.app.store.rows("users") if '"role|' in str(row.columns["body"])]


async def test_an_equal_credential_of_somebody_else_is_used_and_never_deleted(bench: Bench):
    await bench.up_to("federated_credential")
    [(key, present)] = bench.app.world.credentials.items()
    [made] = present.values()
    bench.app.world.credentials[key] = {"theirs": dataclasses.replace(made, name="theirs")}
    assert (await bench.apply("federated_credential")).outputs == {"name": "theirs", "provenance": "adopted"}
    findings = await bench.check("federated_credential")
    assert {one.result for one in findings.values()} == {"ok"}
    bench.become(Kind.DELETE)
    await bench.revert("federated_credential")
    assert set(bench.app.world.credentials[key]) == {"theirs"}


async def test_a_full_identity_is_refused_unless_the_credential_is_there_already(bench: Bench):
    await bench.up_to("managed_identity")
    [key] = bench.app.world.credentials
    others = {
        f"c{number}": Credential(
            name=f"c{number}", issuer="https://i/", subject=f"s{number}", audiences=("a",)
        )
        for number in range(20)
    }
    bench.app.world.credentials[key] = dict(others)
    with pytest.raises(PermanentError, match="credential-budget") as caught:
        await bench.apply("federated_credential")
    assert "identityId" in caught.value.remedy
    # The one of our name, with an issuer of long ago, is one of the twenty and is replaced.
    name = bench.intents["federated_credential"].planned["name"]
    del others["c0"]
    old = Credential(name=name, issuer="https://old/", subject="s", audiences=("a",))
    bench.app.world.credentials[key] = {**others, name: old}
    await bench.apply("federated_credential")
    assert bench.app.world.credentials[key][name].issuer != "https://old/"


@pytest.mark.parametrize("revert", [False, True])
async def test_credential_writes_of_one_identity_wait_for_each_other(bench: Bench, revert: bool):
    await bench.up_to("federated_credential" if revert else "managed_identity")
    limits = bench.app.services.engine.limits
    identity_id = bench.intents["managed_identity"].outputs["resourceId"]
    lease = f"credentials|{naming.fold_id(identity_id)}"
    assert await limits.acquire(lease, holder="another", seconds=60)
    bench.become(Kind.DELETE if revert else Kind.CREATE)
    step = bench.revert if revert else bench.apply
    with pytest.raises(NotYetError, match="lease-busy"):
        await step("federated_credential")
    bench.app.clock.advance(60)
    await step("federated_credential")
    assert await limits.acquire(lease, holder="another", seconds=60), "it was given back"


# --- provenance ----------------------------------------------------------------------------------


def provided(app: LocalApp, client_id: str = "") -> Bench:
    app.world.identities[naming.fold_id(THEIRS)] = Identity(
        resource_id=THEIRS,
        client_id=client_id or app.world.guid(),
        principal_id=app.world.guid(),
        location="x",
        tags={},
    )
    app.world.credentials[naming.fold_id(THEIRS)] = {}
    return Bench(app, identity_id=THEIRS)


async def test_an_identity_that_the_request_names_is_used_unchanged_and_never_deleted(app: LocalApp):
    bench = provided(app)
    before = dict(app.world.identities)
    await bench.up_to("settings")
    assert bench.intents["managed_identity"].planned["provenance"] == "provided"
    assert ("identity", THEIRS) in bench.dependents
    assert app.world.identities == before
    assert {one.result for one in (await bench.check("managed_identity")).values()} == {"ok"}
    bench.become(Kind.DELETE)
    for step in plans.REVERT:
        await bench.revert(step)
    assert app.world.identities == before
    assert app.leftovers()["users"] == []
    assert not any(app.world.credentials.values())


async def test_an_identity_that_the_request_names_must_exist_and_not_be_ours_or_the_clusters(app: LocalApp):
    bench = provided(app, app.services.engine.rules.app_client_id.upper())
    with pytest.raises(PermanentError, match="identity-forbidden"):
        await bench.up_to("managed_identity")
    app.world.identities.clear()
    with pytest.raises(PermanentError, match="identity-not-found"):
        await bench.apply("managed_identity")
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, forbidden_identities=(naming.fold_id(THEIRS),))
    with pytest.raises(PermanentError, match="identity-forbidden") as caught:
        await bench.apply("preflight")
    assert caught.value.remedy


# --- validation ----------------------------------------------------------------------------------


async def test_what_is_as_it_should_be_is_found_so(bench: Bench):
    await bench.up_to("prove")
    for step in plans.CREATE[:-1]:
        findings = await bench.check(step)
        assert findings, step
        assert {one.result for one in findings.values()} == {"ok"}, step


async def test_what_was_changed_by_hand_is_found(bench: Bench):
    await bench.up_to("settings")
    world = bench.app.world
    objects = world.clusters[naming.fold_id(CLUSTER)].objects
    [(identity_key, identity)] = world.identities.items()
    for key in [key for key in objects if key[0] == "Secret"]:
        objects[key].data["AZURE_STORAGEBLOB_CLIENTID"] = "other"
        objects[key].uid = "other"
    for key in [key for key in objects if key[0] == "ServiceAccount"]:
        del objects[key].annotations[ANNOTATION_CLIENT_ID]
    world.identities[identity_key] = dataclasses.replace(identity, client_id="other")
    [name] = world.credentials[identity_key]
    world.credentials[identity_key][name] = Credential(name=name, issuer="i", subject="s", audiences=("a",))
    [(role_key, role)] = world.assignments.items()
    world.assignments[role_key] = dataclasses.replace(role, principal_id="other")
    failed = {
        step: {name for name, one in (await bench.check(step)).items() if one.result == "failed"}
        for step in plans.CREATE
    }
    assert failed == {
        "preflight": set(),
        "managed_identity": {"identity-exists"},
        "role_assignments": {"role-assigned"},
        "federated_credential": {"credential-issuer", "credential-subject", "credential-audience"},
        "service_account": {"service-account-annotation"},
        "settings": {"settings-unchanged", "settings-keys"},
        "prove": set(),
    }
    world.identities.clear()
    world.credentials.clear()
    world.assignments.clear()
    objects.clear()
    gone = {
        step: {name for name, one in (await bench.check(step)).items() if one.result == "failed"}
        for step in plans.CREATE
    }
    assert {step: len(found) for step, found in gone.items()} == {
        "preflight": 0,
        "managed_identity": 1,
        "role_assignments": 1,
        "federated_credential": 1,
        "service_account": 1,
        "settings": 1,
        "prove": 0,
    }


async def test_a_step_whose_forerunner_recorded_nothing_fails_instead_of_guessing(bench: Bench):
    with pytest.raises(PermanentError, match="missing-output: managed_identity has recorded no principalId"):
        await bench.apply("role_assignments")
    with pytest.raises(PermanentError, match="missing-output: preflight has recorded no facts"):
        assert bench.context("settings").facts


async def test_a_field_that_somebody_else_owns_is_not_taken_from_them(bench: Bench):
    await bench.up_to("settings")
    bench.app.clusters.put_object(
        CLUSTER,
        "Secret",
        "shop",
        "sc-ordersblob-secret",
        data={"AZURE_STORAGEBLOB_CLIENTID": "theirs"},
        manager="them",
    )
    with pytest.raises(PermanentError, match="field-conflict"):
        await bench.apply("settings")
    objects = bench.app.world.clusters[naming.fold_id(CLUSTER)].objects
    assert objects["Secret", "shop", "sc-ordersblob-secret"].data["AZURE_STORAGEBLOB_CLIENTID"] == "theirs"
