"""A person names an orphan: it is looked at again, taken on the record, and pruned with every guard."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from shared import naming
from shared.errors import PermanentError, RefusedError, TransientError
from shared.models import Cause, ConnectionId, OperationId
from shared.orphans import Orphan, OrphanKind, orphan_id
from shared.ports import Credential
from shared.prune_rules import of_result
from shared.steps.base import TAG_WORKLOAD, account_thing
from shared.users import User
from tests.fakes.http_app import HttpApp
from tests.fakes.journal import Call
from tests.fakes.local_app import CLUSTER, IDENTITY_GROUP, POLICY, LocalApp, create_body, make_app

IDENTITY = f"{IDENTITY_GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mooring-lost"
SECRET, ACCOUNT = "sc-lost-secret", "sc-account-lost"
KINDS = {
    OrphanKind.SECRET: ("Secret", SECRET),
    OrphanKind.CONFIG_MAP: ("ConfigMap", "sc-lost-configmap"),
    OrphanKind.PROVIDER_CLASS: ("SecretProviderClass", "sc-lost-secretproviderclass"),
    OrphanKind.SERVICE_ACCOUNT: ("ServiceAccount", ACCOUNT),
}


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    made = make_app(tmp_path, MOORING_PRUNE_CONFIRM_SECONDS="1")
    made.clusters.set_secrets_store(CLUSTER, on=True)
    return made


async def reported(app: LocalApp, kind: OrphanKind, *, namespace: str = "shop", **changes: object) -> Orphan:
    """An orphan as a sweep would have recorded it, standing in the world."""
    name, uid, resource_id, cluster_id = "", "", "", CLUSTER
    evidence: dict[str, str] = {}
    if kind in KINDS:
        name = KINDS[kind][1]
        uid = app.clusters.put_object(CLUSTER, KINDS[kind][0], namespace, name).uid
    else:
        identity = await app.services.engine.outside.identities.ensure(
            IDENTITY, location="westeurope", tags={TAG_WORKLOAD: "abc"}
        )
        cluster_id = ""
        name, uid, resource_id = "mooring-lost", identity.principal_id, IDENTITY
    if kind is OrphanKind.CREDENTIAL:
        name, uid = "old", ""
        evidence = {"issuer": "https://dead", "subject": f"system:serviceaccount:shop:{ACCOUNT}"}
        credential = Credential(name=name, audiences=(naming.AUDIENCE,), **evidence)
        await app.services.engine.outside.identities.ensure_credential(IDENTITY, credential)
        resource_id = f"{IDENTITY}/federatedIdentityCredentials/{name}"
    namespace = namespace if kind in KINDS else ""
    orphan = Orphan(
        orphan_id=orphan_id(
            kind, cluster_id=cluster_id, namespace=namespace, name=name, resource_id=resource_id
        ),
        kind=kind,
        cluster_id=cluster_id,
        namespace=namespace,
        name=name,
        uid=uid,
        resource_id=resource_id,
        rule="no-record",
        evidence=evidence,
        first_seen_at=app.clock.now(),
        last_seen_at=app.clock.now(),
    ).model_copy(update=changes)
    return await app.services.orphans.put(orphan)


async def ask(app: LocalApp, orphan: Orphan, key: str = "k") -> OperationId:
    answer = await app.services.orphan_pruner.prune(orphan.orphan_id, key=key)
    return OperationId(answer.operation_id)


async def refused(app: LocalApp, orphan: Orphan) -> str:
    with pytest.raises(RefusedError) as caught:
        await app.services.orphan_pruner.prune(orphan.orphan_id, key="k")
    return caught.value.code


def everything(app: LocalApp) -> list[str]:
    left = app.leftovers()
    return [*left["objects"], *left["identities"], *left["users"]]


@pytest.mark.parametrize("kind", list(OrphanKind))
async def test_an_orphan_that_is_named_goes_and_leaves_no_row_of_users(app: LocalApp, kind: OrphanKind):
    orphan = await reported(app, kind)
    operation_id = await ask(app, orphan)
    await app.settle()
    stored = await app.services.state.operation(operation_id)
    assert stored is not None
    assert (stored.value.state, stored.value.code) == ("succeeded", "")
    cause = stored.value.cause
    assert isinstance(cause, Cause)
    assert (cause.kind, cause.source) == ("orphan", "request")
    if kind is OrphanKind.CREDENTIAL:
        assert await app.services.engine.outside.identities.list_credentials(IDENTITY) == []
        assert app.leftovers()["users"] == []
    else:
        assert everything(app) == []
    known = await app.services.orphans.get(orphan.orphan_id)
    assert known is not None
    assert known.prune == operation_id


async def test_who_asks_again_with_the_same_key_is_told_of_the_prune_that_was_opened(app: LocalApp):
    orphan = await reported(app, OrphanKind.SECRET)
    operation_id = await ask(app, orphan)
    await app.services.orphans.put(orphan)  # as if the host had died before it noted the prune
    await app.settle()
    assert await ask(app, orphan) == operation_id
    known = await app.services.orphans.get(orphan.orphan_id)
    assert known is not None
    assert known.prune == operation_id
    with pytest.raises(RefusedError, match="orphan-gone"):
        await ask(app, orphan, "another")


async def test_what_a_pod_uses_is_held_though_a_person_named_it(app: LocalApp):
    orphan = await reported(app, OrphanKind.SERVICE_ACCOUNT)
    app.clusters.put_pod(CLUSTER, "shop", "p", {"serviceAccountName": ACCOUNT, "containers": []})
    operation_id = await ask(app, orphan)
    await app.settle(seconds=120)
    stored = await app.services.state.operation(operation_id)
    assert stored is not None
    assert (stored.value.state, stored.value.waiting) == ("held", "in-use")
    assert "can be restored: yes" in stored.value.detail
    assert await ask(app, orphan, "k2") == operation_id, "it attaches"


async def test_an_object_that_was_replaced_after_it_was_named_is_kept(app: LocalApp):
    orphan = await reported(app, OrphanKind.SECRET)
    operation_id = await ask(app, orphan)
    objects = app.world.clusters[naming.fold_id(CLUSTER)].objects
    [stored] = objects.values()
    stored.uid = "another"
    await app.settle()
    assert len(objects) == 1
    stored_operation = await app.services.state.operation(operation_id)
    assert stored_operation is not None
    assert of_result(stored_operation.value.code) == "object-changed"


@pytest.mark.parametrize("kind", list(OrphanKind))
async def test_what_is_not_there_any_more_is_refused(app: LocalApp, kind: OrphanKind):
    orphan = await reported(app, kind)
    app.world.clusters[naming.fold_id(CLUSTER)].objects.clear()
    await app.services.engine.outside.identities.delete(IDENTITY)
    assert await refused(app, orphan) == "orphan-gone"


async def test_with_the_cluster_its_orphans_are_gone_and_silence_proves_nothing(
    app: LocalApp,
):
    orphan = await reported(app, OrphanKind.SECRET)
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = False
    with pytest.raises(TransientError):
        await ask(app, orphan)
    app.world.clusters[naming.fold_id(CLUSTER)].reachable = True

    def rule(call: Call) -> BaseException | None:
        return PermanentError("kubernetes-access-denied") if call.name == "clusters.get" else None

    app.journal.before = rule
    with pytest.raises(PermanentError, match="access-denied"):
        await ask(app, orphan)
    app.journal.before = None
    app.world.remove(CLUSTER)
    assert await refused(app, orphan) == "orphan-gone"


@pytest.mark.parametrize("kind", [OrphanKind.SECRET, OrphanKind.SERVICE_ACCOUNT, OrphanKind.IDENTITY])
async def test_another_incarnation_than_the_reported_is_refused(app: LocalApp, kind: OrphanKind):
    assert await refused(app, await reported(app, kind, uid="another")) == "orphan-changed"


async def test_a_credential_that_says_something_else_by_now_is_refused(app: LocalApp):
    orphan = await reported(app, OrphanKind.CREDENTIAL, evidence={"issuer": "https://x", "subject": "s"})
    assert await refused(app, orphan) == "orphan-changed"


async def test_an_identity_without_our_mark_is_refused(app: LocalApp):
    orphan = await reported(app, OrphanKind.IDENTITY)
    [(key, identity)] = app.world.identities.items()
    app.world.identities[key] = dataclasses.replace(identity, tags={})
    assert await refused(app, orphan) == "orphan-changed"


@pytest.mark.parametrize("what", ["namespace", "default", "aks", "annotation"])
async def test_what_is_protected_is_refused(app: LocalApp, what: str):
    kind = {"default": OrphanKind.SERVICE_ACCOUNT, "aks": OrphanKind.CREDENTIAL}.get(what, OrphanKind.SECRET)
    changes = {"default": {"name": "default"}, "aks": {"name": "AKS-identity-binding-7"}}.get(what, {})
    namespace = "kube-system" if what == "namespace" else "shop"
    orphan = await reported(app, kind, namespace=namespace, **changes)
    if what == "annotation":
        app.clusters.put_object(CLUSTER, "Secret", "shop", SECRET, annotations={"mooring.dev/keep": ""})
    assert await refused(app, orphan) == "orphan-protected"


@pytest.mark.parametrize(
    ("policy", "code"),
    [("nonsense", "policy-unreadable"), (POLICY.replace('["*"]', '["other"]'), "policy-denied")],
)
async def test_nothing_is_pruned_where_the_policy_does_not_say_so(app: LocalApp, policy: str, code: str):
    orphan = await reported(app, OrphanKind.SECRET)
    app.policy_file.write_text(policy)
    assert await refused(app, orphan) == code


async def test_what_a_connection_on_record_holds_is_no_orphan(app: LocalApp):
    await app.send(create_body("lost"))
    await app.settle()
    [secret] = await app.clusters.list_objects(CLUSTER, "Secret", "shop")
    orphan = await reported(app, OrphanKind.SECRET, uid=secret.uid)
    assert await refused(app, orphan) == "orphan-owned"
    [account] = await app.clusters.list_objects(CLUSTER, "ServiceAccount", "shop")
    theirs = orphan.model_copy(
        update={
            "kind": OrphanKind.SERVICE_ACCOUNT,
            "name": account.name,
            "uid": account.uid,
            "orphan_id": orphan_id(
                OrphanKind.SERVICE_ACCOUNT, cluster_id=CLUSTER, namespace="shop", name=account.name
            ),
        }
    )
    await app.services.orphans.put(theirs)
    assert await refused(app, theirs) == "orphan-owned"


async def test_an_orphan_that_nobody_reported_is_not_found(app: LocalApp):
    orphan = await reported(app, OrphanKind.SECRET)
    await app.services.orphans.forget(orphan.orphan_id)
    assert await refused(app, orphan) == "not-found"


async def test_a_second_life_of_an_orphan_is_pruned_like_the_first(app: LocalApp):
    await ask(app, await reported(app, OrphanKind.SECRET))
    await app.settle()
    again = await reported(app, OrphanKind.SECRET)
    operation_id = await ask(app, again, "k2")
    await app.settle()
    stored = await app.services.state.connection(ConnectionId(naming.connection_of(operation_id)))
    assert stored is not None
    assert (stored.value.state, stored.value.generation) == ("pruned", 2)
    assert everything(app) == []


async def test_a_delete_does_not_take_an_orphan_past_the_guards_of_its_prune(app: LocalApp):
    orphan = await reported(app, OrphanKind.SERVICE_ACCOUNT)
    app.clusters.put_pod(CLUSTER, "shop", "p", {"serviceAccountName": ACCOUNT, "containers": []})
    operation_id = await ask(app, orphan)
    await app.settle(seconds=60)
    body = {"action": "delete", "connectionId": naming.connection_of(operation_id)}
    assert (await app.send(body, message_id="d")).code == "observed-connection"
    await app.settle(seconds=60)
    assert await app.clusters.get(CLUSTER, "ServiceAccount", "shop", ACCOUNT) is not None


async def test_an_orphan_whose_row_is_closing_waits_for_that(app: LocalApp):
    orphan = await reported(app, OrphanKind.SERVICE_ACCOUNT)
    users = app.services.engine.users
    thing = account_thing(CLUSTER, "shop", "lost")
    pseudo = ConnectionId(naming.digest(["orphan", orphan.orphan_id]))
    gone = naming.operation_id(pseudo, "gone")
    await users.seize(thing, User(connection_id=pseudo, generation=1), operation_id=gone)
    status, answer, _ = await HttpApp(app).call("prune_orphan", orphanId=orphan.orphan_id)
    assert (status, answer["outcome"]) == (202, "opened")
    await app.settle(seconds=60)
    stored = await app.services.state.operation(answer["operationId"])
    assert stored is not None
    assert (stored.value.state, stored.value.waiting) == ("waiting", "closing")
    await app.settle(seconds=600)
    assert everything(app) == []
