"""Whose identity a connection may use, and what is said where something cannot be seen in time."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from shared import naming
from shared.catalogue import catalogue
from shared.errors import PermanentError, TransientError
from shared.ports import Credential
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import APP_CLIENT_ID, CLUSTER, IDENTITY_GROUP, LocalApp, create_body
from tests.fakes.looks import bad, described, looked, spec_of
from tests.fakes.target_examples import CONNECTION, Example, examples
from tests.fakes.their_linker import IDENTITY, make_linker

OWN = (
    f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"
    f"{naming.identity_name(CLUSTER, 'shop', 'orders')}"
)


# --- identities ----------------------------------------------------------------------------------


async def test_an_identity_of_the_workloads_name_without_its_tag_is_somebody_elses(app: LocalApp):
    await app.services.engine.outside.identities.ensure(OWN, location="westeurope", tags={})
    fit, findings = await looked(app)
    assert bad(findings) == {
        "identity-usable": "failed",
        "service-account-free": "unknown",
        "credential-budget": "unknown",
    }
    assert (fit.identity, fit.credentials) == (None, None)
    assert findings["identity-usable"].remedy == "delete that identity, or name it as identityId"


async def test_a_provided_identity_must_be_there(app: LocalApp):
    _, findings = await looked(app, identityId=IDENTITY)
    assert findings["identity-usable"].detail.startswith("identity-not-found")


async def test_the_apps_own_identity_is_no_workloads(app: LocalApp):
    theirs = make_linker(app)
    own = dataclasses.replace(theirs.identity, client_id=APP_CLIENT_ID.upper())
    app.world.identities[naming.fold_id(IDENTITY)] = own
    _, findings = await looked(app, identityId=IDENTITY)
    assert findings["identity-usable"].detail.startswith("identity-forbidden")


async def test_the_clusters_own_identity_is_no_workloads(app: LocalApp):
    make_linker(app)
    described(app, forbidden_identities=(naming.fold_id(IDENTITY),))
    _, findings = await looked(app, identityId=IDENTITY)
    assert findings["identity-usable"].detail.startswith("identity-forbidden")
    assert findings["identity-usable"].remedy == "name another identity, or none"


async def test_a_full_identity_that_trusts_the_account_already_has_room(app: LocalApp):
    make_linker(app)
    present = app.world.credentials[naming.fold_id(IDENTITY)]
    for number in range(19):
        name = f"c{number}"
        present[name] = Credential(name=name, issuer="https://i", subject=name, audiences=("a",))
    fit, findings = await looked(app, identityId=IDENTITY)
    assert (len(fit.credentials or ()), findings["credential-budget"].result) == (20, "ok")


# --- bounds --------------------------------------------------------------------------------------


def breaking(app: LocalApp, name: str, error: Exception) -> None:
    def rule(call: Call) -> BaseException | None:
        return error if call.name == name else None

    app.journal.before = rule


async def test_what_azure_does_not_tell_now_is_unknown_and_the_rest_is_said(app: LocalApp):
    breaking(app, "resources.get", TransientError("service-unavailable", "try later"))
    fit, findings = await looked(app)
    unseen = {"target-exists", "target-provisioned", "target-healthy", "network", "providers-registered"}
    assert bad(findings) == dict.fromkeys(unseen, "unknown")
    assert findings["target-exists"].detail == "service-unavailable: try later"
    assert fit.facts is None


async def test_a_right_that_is_missing_is_a_finding_with_its_remedy(app: LocalApp):
    breaking(app, "clusters.get", PermanentError("kubernetes-access-denied", "secrets", remedy="bind it"))
    _, findings = await looked(app)
    assert bad(findings) == {"secret-free": "failed"}
    assert findings["secret-free"].remedy == "bind it"


async def test_credentials_that_cannot_be_listed_are_not_taken_for_none(app: LocalApp):
    make_linker(app)
    breaking(app, "identities.list_credentials", TransientError("timeout"))
    fit, findings = await looked(app, identityId=IDENTITY)
    assert (fit.credentials, findings["credential-budget"].result) == (None, "unknown")


async def test_a_look_that_never_ends_is_given_up(app: LocalApp, monkeypatch: pytest.MonkeyPatch):
    never = asyncio.Event()

    async def hang(*_arguments: Any, **_options: Any) -> None:
        await never.wait()

    monkeypatch.setattr(app.clusters, "describe", hang)
    _, findings = await looked(app, within=0.01)
    assert findings["cluster-exists"].result == "unknown"
    assert findings["cluster-exists"].detail == "no answer within 0.01 s"
    assert findings["target-exists"].result == "ok"


async def test_without_a_cluster_a_provided_identity_is_looked_at_all_the_same(app: LocalApp):
    make_linker(app)
    app.world.remove(CLUSTER)
    fit, findings = await looked(app, identityId=IDENTITY)
    assert (findings["identity-usable"].result, findings["credential-budget"].result) == ("ok", "ok")
    assert len(fit.credentials or ()) == 1


async def test_a_plan_shows_unknown_where_it_could_not_see(app: LocalApp):
    breaking(app, "identities.get", TransientError("timeout"))
    _, found, _ = await HttpApp(app).call("plan_connection", body=create_body())
    assert found["result"] == "unknown"
    assert (found["identity"]["exists"], found["federatedCredential"]["used"]) == (None, None)


ANSWERED = [one for row in catalogue().rows if row.id_template for one in examples(row)]


@pytest.mark.parametrize("example", ANSWERED, ids=str)
async def test_the_facts_are_those_of_the_target_and_of_what_is_above_it(app: LocalApp, example: Example):
    row = example.row
    app.world.add_resource(row.existence_id(example.id), dict(example.answer))
    if example.parent is not None:
        app.world.add_resource(row.parent_id(example.id), dict(example.parent))
    wanted = {"target_type": row.name, "target_id": example.id, "name": CONNECTION}
    spec = spec_of().model_copy(update=wanted)
    fit = await app.services.dry_run.fitness.look(spec, row)
    assert fit.facts is not None
    assert {**fit.facts, "clientId": ""} == {**example.facts(), "clientId": ""}
