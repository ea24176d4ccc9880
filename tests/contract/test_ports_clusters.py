"""Clusters and the proof of access: fakes and adapters keep the same promises, on a real API server too."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid

import pytest

from shared.errors import PermanentError, TransientError
from shared.naming import AUDIENCE, role_assignment_name
from shared.ports import KubeObject, RoleAssignment
from tests.contract.ports_azure import NAMESPACE, Azure, credential

pytest_plugins = ("tests.contract.ports_fixtures",)


async def test_a_cluster_is_described(azure: Azure):
    found = await azure.clusters.describe(azure.cluster_id)
    assert found is not None
    assert found.resource_id == azure.cluster_id
    assert found.issuer.startswith("https://")
    assert found.issuer.endswith("/")
    assert (found.workload_identity, found.provisioning_state, found.power_state) == (
        True,
        "Succeeded",
        "Running",
    )
    assert await azure.clusters.describe(f"{azure.cluster_id}x") is None


async def test_kubernetes_calls_in_a_cluster_that_azure_does_not_know_say_so(azure: Azure):
    gone = f"{azure.cluster_id}x"
    with pytest.raises(PermanentError, match="cluster-gone"):
        await azure.clusters.namespace_exists(gone, NAMESPACE)
    with pytest.raises(PermanentError, match="cluster-gone"):
        await azure.clusters.get(gone, "Secret", NAMESPACE, "s")


async def test_a_cluster_with_local_accounts_only_is_described_and_not_asked(azure: Azure):
    found = await azure.clusters.describe(azure.cluster_id)
    assert found is not None
    assert found.entra is True
    async with azure.local_accounts_only() as cluster_id:
        found = await azure.clusters.describe(cluster_id)
        assert found is not None
        assert (found.entra, found.provisioning_state) == (False, "Succeeded")
        for call in (
            azure.clusters.namespace_exists(cluster_id, NAMESPACE),
            azure.clusters.list_namespaces(cluster_id),
            azure.clusters.get(cluster_id, "Secret", NAMESPACE, "s"),
        ):
            with pytest.raises(PermanentError, match="cluster-without-entra") as refused:
                await call
            assert refused.value.remedy.startswith("az aks update --enable-aad --subscription")


async def test_namespaces_are_known(azure: Azure):
    assert await azure.clusters.namespace_exists(azure.cluster_id, NAMESPACE) is True
    assert await azure.clusters.namespace_exists(azure.cluster_id, "no-such-namespace") is False


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
async def test_an_object_is_applied_read_and_its_stale_keys_pruned(azure: Azure, kind: str):
    name = f"sc-{uuid.uuid4().hex[:8]}-{kind.lower()}"
    place = (azure.cluster_id, kind, NAMESPACE, name)
    assert await azure.clusters.get(*place) is None
    made = await azure.clusters.apply(
        *place, labels={"app": "mooring"}, annotations={"note": "é"}, data={"A": "1", "B": "zwölf"}
    )
    assert (made.kind, made.namespace, made.name) == (kind, NAMESPACE, name)
    assert made.uid
    assert await azure.clusters.get(*place, values=True) == made
    assert await azure.clusters.get(*place) == dataclasses.replace(made, data={}, secret_type="")
    assert dict(made.data) == {"A": "1", "B": "zwölf"}
    assert "zwölf" not in repr(made)
    same = await azure.clusters.apply(
        *place, labels={"app": "mooring"}, annotations={"note": "é"}, data={"A": "1", "B": "zwölf"}
    )
    assert same == made
    changed = await azure.clusters.apply(*place, labels={}, annotations={}, data={"A": "2"})
    assert (dict(changed.data), dict(changed.labels), changed.uid) == ({"A": "2"}, {}, made.uid)
    assert changed.resource_version != made.resource_version


async def test_a_field_that_another_tool_owns_is_not_taken(azure: Azure):
    name = f"sc-{uuid.uuid4().hex[:8]}-secret"
    place = (azure.cluster_id, "Secret", NAMESPACE, name)
    azure.label_secret(name, {"team": "shop"})
    await azure.clusters.apply(*place, labels={"ours": "yes"}, annotations={}, data={"A": "1"})
    with pytest.raises(PermanentError, match="field-conflict"):
        await azure.clusters.apply(*place, labels={"team": "mooring"}, annotations={}, data={"A": "1"})
    found = await azure.clusters.get(*place)
    assert found is not None
    assert dict(found.labels) == {"team": "shop", "ours": "yes"}


async def test_a_field_that_was_taken_by_force_has_no_other_owner_and_goes_with_ours(azure: Azure):
    name = f"sc-{uuid.uuid4().hex[:8]}-secret"
    place = (azure.cluster_id, "Secret", NAMESPACE, name)
    azure.label_secret(name, {"team": "shop"})
    labels = {"team": "mooring"}
    await azure.clusters.apply(*place, labels=labels, annotations={}, data={"A": "1"}, force=True)
    await azure.clusters.apply(*place, labels={}, annotations={}, data={"A": "1"})
    found = await azure.clusters.get(*place)
    assert found is not None
    assert "team" not in found.labels


async def test_an_account_of_somebody_elses_gets_an_annotation_and_gives_it_back(azure: Azure):
    name = f"theirs-{uuid.uuid4().hex[:8]}"
    place = (azure.cluster_id, "ServiceAccount", NAMESPACE, name)

    async def annotate(annotations: dict[str, str], was: KubeObject) -> KubeObject:
        return await azure.clusters.apply(
            *place, labels={}, annotations=annotations, uid=was.uid, resource_version=was.resource_version
        )

    azure.make_account(name, {"team": "shop"})
    there = await azure.clusters.get(*place)
    assert there is not None
    ours = await annotate({"id": "1"}, there)
    assert (dict(ours.annotations), ours.uid) == ({"team": "shop", "id": "1"}, there.uid)
    assert (await annotate({"id": "1"}, ours)).resource_version == ours.resource_version
    with pytest.raises(TransientError):
        await annotate({"id": "2"}, there)  # it changed since
    back = await annotate({}, ours)
    assert (dict(back.annotations), dict(back.labels)) == ({"team": "shop"}, {})
    # What another manager wrote as well stays when we give it up.
    ours = await annotate({"id": "1"}, back)
    azure.make_account(name, {"team": "shop", "id": "1"})
    there = await azure.clusters.get(*place)
    assert there is not None
    assert dict((await annotate({}, there)).annotations) == {"team": "shop", "id": "1"}
    with pytest.raises(PermanentError, match="field-conflict"):
        await annotate({"id": "2"}, await _present(azure, place))


async def test_an_account_that_is_gone_or_another_is_not_made_by_an_annotation(azure: Azure):
    name = f"theirs-{uuid.uuid4().hex[:8]}"
    place = (azure.cluster_id, "ServiceAccount", NAMESPACE, name)
    azure.make_account(name, {"team": "shop"})
    there = await _present(azure, place)
    exact = {"uid": there.uid, "resource_version": there.resource_version}
    assert await azure.clusters.delete(*place, **exact)
    with pytest.raises(TransientError):
        await azure.clusters.apply(*place, labels={}, annotations={"id": "1"}, **exact)
    assert await azure.clusters.get(*place) is None
    azure.make_account(name, {"team": "shop"})
    with pytest.raises(TransientError):
        await azure.clusters.apply(*place, labels={}, annotations={"id": "1"}, **exact)
    assert dict((await _present(azure, place)).annotations) == {"team": "shop"}


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
@pytest.mark.parametrize("force", [False, True])
async def test_what_is_applied_on_an_object_as_it_was_read_meets_no_other(
    azure: Azure, kind: str, force: bool
):
    name = f"sc-{uuid.uuid4().hex[:8]}-late"
    place = (azure.cluster_id, kind, NAMESPACE, name)
    data = {"A": "1"}

    async def write(note: str, was: KubeObject) -> KubeObject:
        exact = {"uid": was.uid, "resource_version": was.resource_version}
        return await azure.clusters.apply(
            *place, labels={"app": "mooring"}, annotations={"note": note}, data=data, force=force, **exact
        )

    await azure.clusters.create(*place, labels={"app": "mooring"}, annotations={"note": "1"}, data=data)
    first = await _present(azure, place)
    second = await write("2", first)
    assert (dict(second.annotations), second.uid) == ({"note": "2"}, first.uid)
    assert (await write("2", second)).resource_version == second.resource_version
    for note in ("1", "2", "3"):
        with pytest.raises(TransientError, match="kubernetes-conflict"):
            await write(note, first)  # it lands late
    assert dict((await _present(azure, place)).annotations) == {"note": "2"}
    assert await azure.clusters.delete(*place, uid=second.uid, resource_version=second.resource_version)
    with pytest.raises(TransientError, match="kubernetes-conflict"):
        await write("1", first)
    assert await azure.clusters.get(*place) is None
    again = await azure.clusters.create(*place, labels={}, annotations={"note": "4"}, data=data)
    with pytest.raises(TransientError, match="kubernetes-conflict"):
        await write("1", second)
    assert dict((await _present(azure, place)).annotations) == dict(again.annotations)


async def _present(azure: Azure, place: tuple[str, str, str, str]) -> KubeObject:
    there = await azure.clusters.get(*place)
    assert there is not None
    return there


async def test_applying_into_a_namespace_that_is_missing_is_permanent(azure: Azure):
    with pytest.raises(PermanentError, match="namespace-not-found"):
        await azure.clusters.apply(
            azure.cluster_id, "ServiceAccount", "no-such-namespace", "a", labels={}, annotations={}
        )


async def test_an_object_is_deleted_only_as_it_was_read(azure: Azure):
    # A secret: a cluster's own controllers write into every new service account.
    name = f"sc-{uuid.uuid4().hex[:8]}-secret"
    place = (azure.cluster_id, "Secret", NAMESPACE, name)
    made = await azure.clusters.apply(*place, labels={"n": "1"}, annotations={}, data={"A": "1"})
    changed = await azure.clusters.apply(*place, labels={"n": "2"}, annotations={}, data={"A": "1"})
    with pytest.raises(TransientError, match="precondition"):
        await azure.clusters.delete(*place, uid=made.uid, resource_version=made.resource_version)
    with pytest.raises(TransientError, match="precondition"):
        await azure.clusters.delete(*place, uid=str(uuid.uuid4()), resource_version=changed.resource_version)
    with pytest.raises(PermanentError, match="precondition-missing"):
        await azure.clusters.delete(*place, uid="", resource_version=changed.resource_version)
    exact = {"uid": changed.uid, "resource_version": changed.resource_version}
    assert await azure.clusters.delete(*place, **exact) is True
    assert await azure.clusters.delete(*place, **exact) is False
    assert await azure.clusters.get(*place) is None


async def test_other_kinds_are_never_touched(azure: Azure):
    with pytest.raises(PermanentError, match="kind-unknown"):
        await azure.clusters.get(azure.cluster_id, "Pod", NAMESPACE, "x")
    with pytest.raises(PermanentError, match="kind-unknown"):
        await azure.clusters.apply(
            azure.cluster_id, "ServiceAccount", NAMESPACE, "x", labels={}, annotations={}, data={"A": "1"}
        )


async def test_a_config_map_is_made_once_listed_and_deleted(azure: Azure):
    name = f"sc-{uuid.uuid4().hex[:8]}-configmap"
    place = (azure.cluster_id, "ConfigMap", NAMESPACE, name)
    made = await azure.clusters.create(*place, labels={"a": "b"}, annotations={}, data={"A": "zwölf"})
    assert (dict(made.data), made.secret_type) == ({"A": "zwölf"}, "")
    with pytest.raises(PermanentError, match="object-exists"):
        await azure.clusters.create(*place, labels={}, annotations={}, data={})
    listed = await azure.clusters.list_objects(azure.cluster_id, "ConfigMap", NAMESPACE)
    assert [one for one in listed if one.name == name] == [dataclasses.replace(made, data={})]
    exact = {"uid": made.uid, "resource_version": made.resource_version}
    assert await azure.clusters.delete(*place, **exact) is True
    assert await azure.clusters.get(*place) is None


async def test_the_whole_chain_from_token_to_read_works_and_stops_working(azure: Azure):
    identity = await azure.identities.ensure(azure.identity_id(), location="westeurope", tags={})
    cluster = await azure.clusters.describe(azure.cluster_id)
    assert cluster is not None
    account = f"sc-account-{identity.client_id}"
    await azure.clusters.apply(
        azure.cluster_id, "ServiceAccount", NAMESPACE, account, labels={}, annotations={}
    )
    assertion = await azure.clusters.request_token(azure.cluster_id, NAMESPACE, account, audience=AUDIENCE)
    scope = "https://storage.azure.com/.default"
    with pytest.raises(PermanentError, match=r"exchange-refused: AADSTS\d+"):
        await azure.prover.exchange(client_id=identity.client_id, assertion=assertion, scope=scope)
    trust = credential("chain", account=account, issuer=cluster.issuer)
    await azure.identities.ensure_credential(identity.resource_id, trust)
    token = await azure.prover.exchange(client_id=identity.client_id, assertion=assertion, scope=scope)
    assert await azure.prover.read(azure.blob_url, token=token) == 403
    name = role_assignment_name(azure.storage_id, identity.principal_id, azure.role_id())
    grant = RoleAssignment(
        scope=azure.storage_id,
        name=name,
        principal_id=identity.principal_id,
        role_definition_id=azure.role_id(),
    )
    await azure.roles.ensure(grant)
    assert await azure.prover.read(azure.blob_url, token=token) == 200
    await azure.roles.delete(azure.storage_id, name)
    assert await azure.prover.read(azure.blob_url, token=token) == 403


async def test_a_token_of_a_missing_account_and_a_read_of_nowhere(azure: Azure):
    with pytest.raises(PermanentError, match="service-account-missing"):
        await azure.clusters.request_token(azure.cluster_id, NAMESPACE, "no-such-account", audience=AUDIENCE)
    assert await azure.prover.read("https://127.0.0.1:9/x", token="t") is None
    with pytest.raises(PermanentError, match="proof-url-invalid"):
        await azure.prover.read("http://127.0.0.1:9/x", token="t")


async def test_sixteen_reads_at_once_all_answer(azure: Azure):
    reads = [azure.clusters.namespace_exists(azure.cluster_id, NAMESPACE) for _ in range(16)]
    assert await asyncio.gather(*reads) == [True] * 16
