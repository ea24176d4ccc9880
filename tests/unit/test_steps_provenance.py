"""What somebody else made, or the request names, is used as it is or refused, and never deleted."""

import dataclasses

import pytest

from shared import naming, plans
from shared.errors import NotYetError, PermanentError
from shared.models import Kind
from shared.ports import Credential, Identity, RoleAssignment
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, LocalApp
from tests.fakes.step_bench import Bench

THEIRS = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/theirs"


@pytest.fixture
def bench(app: LocalApp) -> Bench:
    return Bench(app)


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
