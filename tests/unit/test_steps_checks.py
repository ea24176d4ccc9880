"""What the steps' checks find: nothing where all is as it should be, else what was changed or is gone."""

import dataclasses

import pytest

from shared import naming, plans
from shared.ports import Credential
from shared.steps.base import ANNOTATION_CLIENT_ID
from tests.fakes.local_app import CLUSTER, LocalApp
from tests.fakes.step_bench import Bench


@pytest.fixture
def bench(app: LocalApp) -> Bench:
    return Bench(app)


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
