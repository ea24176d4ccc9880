"""Identities, roles, resources, linkers and clusters: fakes and adapters keep the same promises.

The adapters run against the sandbox's Resource Manager, Entra and Kubernetes emulators, signed in as the
app with the rights that ``infra/`` gives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import ssl
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from sandbox.owner import Owner
from sandbox.topology import Topology
from shared.errors import MooringError, PermanentError, TransientError
from shared.naming import AUDIENCE, fold_id, role_assignment_name, subject
from shared.ports import Clusters, Credential, Identities, Linkers, Prover, Resources, RoleAssignment, Roles
from tests.contract.ports_sandbox import Contract, adapters, control, running_sandbox
from tests.fakes.azure_world import AzureWorld
from tests.fakes.clusters import InMemoryClusters
from tests.fakes.identities import InMemoryIdentities
from tests.fakes.prover import InMemoryProver
from tests.fakes.resources import InMemoryLinkers, InMemoryResources
from tests.fakes.roles import InMemoryRoles

SUBSCRIPTION = "11111111-1111-4111-8111-111111111111"
MANAGED_IDENTITY_CONTRIBUTOR = "e40ec5ca-96e0-45a2-b4ff-59039f2c2b59"
BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
STORAGE_VERSION = "2023-05-01"
NAMESPACE = "orders"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Azure:
    """The ports under test and the names of what is there."""

    identities: Identities
    roles: Roles
    resources: Resources
    linkers: Linkers
    clusters: Clusters
    prover: Prover
    subscription: str
    identity_group: str
    cluster_id: str
    storage_id: str
    blob_url: str
    contract: Contract | None = None
    fake_clusters: InMemoryClusters | None = None

    def identity_id(self, name: str = "") -> str:
        tail = name or f"id-{uuid.uuid4().hex[:12]}"
        return f"{self.identity_group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{tail}"

    def role_id(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/providers/Microsoft.Authorization/roleDefinitions/"
            f"{BLOB_CONTRIBUTOR}"
        )

    @contextlib.asynccontextmanager
    async def app_granted(self, role: str) -> AsyncIterator[None]:
        """The owner grants the app a built-in role on the subscription for a while."""
        if self.contract is None:
            yield
            return
        topology = Topology.load(Path(self.contract["topology_file"]))
        scope = f"/subscriptions/{self.subscription}"
        definition = f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{role}"
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
        body = {"roleDefinitionId": definition, "principalId": topology.app_principal_id}
        tls = ssl.create_default_context(cafile=topology.ca_file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
            owner = Owner(topology, session)
            await owner.put_resource(path, "2022-04-01", {"properties": body})
            try:
                yield
            finally:
                await owner.delete_resource(path, "2022-04-01")

    def put_pod(self, name: str, spec: dict[str, object]) -> None:
        """Run a pod as a developer would."""
        if self.fake_clusters is not None:
            self.fake_clusters.put_pod(self.cluster_id, NAMESPACE, name, spec)
            return
        contract = self.contract or {}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        url = f"{contract['cluster_server']}/api/v1/namespaces/{NAMESPACE}/pods"
        control(contract, url, method="POST", body=body, token=contract["kubernetes_admin_token"])

    def label_secret(self, name: str, labels: dict[str, str]) -> None:
        """Apply a label under another field manager."""
        if self.fake_clusters is not None:
            self.fake_clusters.put_object(
                self.cluster_id, "Secret", NAMESPACE, name, labels=labels, manager="gitops"
            )
            return
        contract = self.contract or {}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}}
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{contract['cluster_server']}/api/v1/namespaces/{NAMESPACE}/secrets/{name}"
            "?fieldManager=gitops&force=true",
            data=json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {contract['kubernetes_admin_token']}",
                "Content-Type": "application/apply-patch+yaml",
            },
            method="PATCH",
        )
        tls = ssl.create_default_context(cafile=contract["ca_file"])
        with urllib.request.urlopen(request, context=tls, timeout=30):  # noqa: S310 - loopback
            pass


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def fake_azure() -> Azure:
    world = AzureWorld()
    base = f"/subscriptions/{SUBSCRIPTION}/resourceGroups"
    cluster_id = f"{base}/rg-shop/providers/Microsoft.ContainerService/managedClusters/aks-shop"
    storage_id = f"{base}/rg-shop/providers/Microsoft.Storage/storageAccounts/stshop"
    world.add_group(f"{base}/rg-shop-identities")
    world.add_cluster(cluster_id, namespaces=(NAMESPACE,))
    world.add_resource(storage_id, {"properties": {"primaryEndpoints": {"blob": "https://blob.example/"}}})
    world.data_planes["https://blob.example/?comp=list"] = storage_id
    clusters = InMemoryClusters(world)
    return Azure(
        identities=InMemoryIdentities(world),
        roles=InMemoryRoles(world),
        resources=InMemoryResources(world),
        linkers=InMemoryLinkers(world),
        clusters=clusters,
        prover=InMemoryProver(world),
        subscription=SUBSCRIPTION,
        identity_group=f"{base}/rg-shop-identities",
        cluster_id=cluster_id,
        storage_id=storage_id,
        blob_url="https://blob.example/?comp=list",
        fake_clusters=clusters,
    )


@pytest.fixture(params=["fake", "sandbox"])
async def azure(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Azure]:
    if request.param == "fake":
        yield fake_azure()
        return
    running: Contract = request.getfixturevalue("contract")
    async with adapters(running, monkeypatch) as wired:
        yield Azure(
            identities=wired.identities,
            roles=wired.roles,
            resources=wired.resources,
            linkers=wired.linkers,
            clusters=wired.clusters,
            prover=wired.prover,
            subscription=running["subscription_id"],
            identity_group=(
                f"/subscriptions/{running['subscription_id']}/resourceGroups/"
                f"{running['identity_resource_group']}"
            ),
            cluster_id=running["cluster_id"],
            storage_id=running["storage_account_id"],
            blob_url=f"{running['storage_account_url']}/?comp=list",
            contract=running,
        )


# --- identities ----------------------------------------------------------------------------------------


async def test_an_identity_is_made_once_and_keeps_its_ids(azure: Azure):
    wanted = azure.identity_id()
    assert await azure.identities.get(wanted) is None
    made = await azure.identities.ensure(wanted, location="westeurope", tags={"managed-by": "mooring"})
    again = await azure.identities.ensure(wanted, location="westeurope", tags={"managed-by": "mooring"})
    assert made == again == await azure.identities.get(wanted)
    assert made.resource_id == wanted
    assert made.client_id
    assert made.principal_id
    assert made.client_id != made.principal_id
    assert (made.location, dict(made.tags)) == ("westeurope", {"managed-by": "mooring"})


async def test_ensuring_an_identity_keeps_other_peoples_tags(azure: Azure):
    wanted = azure.identity_id()
    await azure.identities.ensure(wanted, location="westeurope", tags={"owner": "somebody"})
    changed = await azure.identities.ensure(wanted, location="westeurope", tags={"managed-by": "mooring"})
    assert dict(changed.tags) == {"owner": "somebody", "managed-by": "mooring"}


async def test_deleting_an_identity_takes_its_credentials_and_may_be_repeated(azure: Azure):
    wanted = azure.identity_id()
    await azure.identities.ensure(wanted, location="westeurope", tags={})
    await azure.identities.ensure_credential(wanted, credential("one"))
    await azure.identities.delete(wanted)
    await azure.identities.delete(wanted)
    assert await azure.identities.get(wanted) is None
    assert await azure.identities.list_credentials(wanted) == []
    assert await azure.identities.get_credential(wanted, "one") is None
    await azure.identities.delete_credential(wanted, "one")


async def test_an_identity_in_a_group_that_is_gone_is_absent_to_whom_may_look_there(azure: Azure):
    gone = f"/subscriptions/{azure.subscription}/resourceGroups/no-such-group"
    wanted = f"{gone}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-x"
    async with azure.app_granted(MANAGED_IDENTITY_CONTRIBUTOR):
        assert await azure.identities.get(wanted) is None
        await azure.identities.delete(wanted)
        await azure.identities.delete_credential(wanted, "one")


@pytest.mark.parametrize("azure", ["sandbox"], indirect=True)  # the fakes know no rights
async def test_an_identity_in_a_group_that_the_app_may_not_read_is_no_absence(azure: Azure):
    elsewhere = f"/subscriptions/{azure.subscription}/resourceGroups/no-such-group"
    wanted = f"{elsewhere}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-x"
    with pytest.raises(PermanentError, match="access-denied"):
        await azure.identities.get(wanted)


@pytest.mark.parametrize(
    "resource_id",
    [
        "",
        "/subscriptions/x",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a",
    ],
)
async def test_an_id_of_another_type_is_refused(azure: Azure, resource_id: str):
    with pytest.raises(PermanentError, match="resource-id-invalid"):
        await azure.identities.get(resource_id)


def credential(
    name: str, *, account: str = "sc-account-x", issuer: str = "https://issuer.example/a/"
) -> Credential:
    return Credential(name=name, issuer=issuer, subject=subject(NAMESPACE, account), audiences=(AUDIENCE,))


async def test_a_credential_is_made_changed_listed_and_removed(azure: Azure):
    identity = azure.identity_id()
    await azure.identities.ensure(identity, location="westeurope", tags={})
    first = await azure.identities.ensure_credential(identity, credential("one"))
    assert first == credential("one") == await azure.identities.get_credential(identity, "one")
    changed = credential("one", issuer="https://issuer.example/b/")
    assert await azure.identities.ensure_credential(identity, changed) == changed
    await azure.identities.ensure_credential(identity, credential("two", account="sc-account-y"))
    listed = await azure.identities.list_credentials(identity)
    assert sorted(listed, key=lambda one: one.name) == [changed, credential("two", account="sc-account-y")]
    await azure.identities.delete_credential(identity, "one")
    await azure.identities.delete_credential(identity, "one")
    assert [one.name for one in await azure.identities.list_credentials(identity)] == ["two"]


async def test_an_issuer_and_subject_can_stand_under_one_name_only(azure: Azure):
    identity = azure.identity_id()
    await azure.identities.ensure(identity, location="westeurope", tags={})
    await azure.identities.ensure_credential(identity, credential("one"))
    with pytest.raises(MooringError) as refused:
        await azure.identities.ensure_credential(identity, credential("two"))
    assert isinstance(refused.value, PermanentError | TransientError)
    assert [one.name for one in await azure.identities.list_credentials(identity)] == ["one"]


# --- roles ---------------------------------------------------------------------------------------------


async def granted(azure: Azure, name: str = "") -> RoleAssignment:
    identity = await azure.identities.ensure(azure.identity_id(), location="westeurope", tags={})
    return RoleAssignment(
        scope=azure.storage_id,
        name=name or role_assignment_name(azure.storage_id, identity.principal_id, azure.role_id()),
        principal_id=identity.principal_id,
        role_definition_id=azure.role_id(),
        description="mooring",
    )


async def test_an_assignment_is_repeatable_and_read_back(azure: Azure):
    wanted = await granted(azure)
    assert await azure.roles.get(wanted.scope, wanted.name) is None
    made = await azure.roles.ensure(wanted)
    assert (made.name, made.existing) == (wanted.name, False)
    assert (await azure.roles.ensure(wanted)).existing is False
    found = await azure.roles.get(wanted.scope, wanted.name)
    assert found is not None
    assert found.principal_id == wanted.principal_id
    assert found.role_definition_id.lower().endswith(BLOB_CONTRIBUTOR)
    assert found.description == "mooring"


async def test_the_same_grant_under_another_name_is_returned_as_existing(azure: Azure):
    first = await granted(azure)
    await azure.roles.ensure(first)
    second = dataclasses.replace(first, name=str(uuid.uuid4()))
    found = await azure.roles.ensure(second)
    assert (found.name, found.existing) == (first.name, True)
    assert await azure.roles.get(second.scope, second.name) is None


async def test_deleting_an_assignment_may_be_repeated(azure: Azure):
    wanted = await granted(azure)
    await azure.roles.ensure(wanted)
    await azure.roles.delete(wanted.scope, wanted.name)
    await azure.roles.delete(wanted.scope, wanted.name)
    assert await azure.roles.get(wanted.scope, wanted.name) is None
    assert await azure.roles.list_for_principal(wanted.scope, wanted.principal_id) == []


async def test_assignments_below_a_scope_that_is_gone_are_absent(azure: Azure):
    scope = f"/subscriptions/{azure.subscription}/resourceGroups/no-such-group"
    name = str(uuid.uuid4())
    assert await azure.roles.get(scope, name) is None
    await azure.roles.delete(scope, name)


async def test_a_principals_assignments_are_listed(azure: Azure):
    wanted = await granted(azure)
    await azure.roles.ensure(wanted)
    [found] = await azure.roles.list_for_principal(azure.storage_id, wanted.principal_id)
    assert (fold_id(found.scope), found.name) == (fold_id(wanted.scope), wanted.name)


# --- resources and linkers -----------------------------------------------------------------------------


async def test_a_resource_is_read_whatever_the_casing_of_its_id(azure: Azure):
    found = await azure.resources.get(azure.storage_id, api_version=STORAGE_VERSION)
    assert found is not None
    assert fold_id(found["id"]) == fold_id(azure.storage_id)
    assert found["properties"]["primaryEndpoints"]["blob"].startswith("https://")
    shouted = azure.storage_id.replace("resourceGroups", "RESOURCEGROUPS")
    assert await azure.resources.get(shouted, api_version=STORAGE_VERSION) is not None


async def test_a_resource_that_is_gone_is_none(azure: Azure):
    assert await azure.resources.get(f"{azure.storage_id}x", api_version=STORAGE_VERSION) is None
    group = f"/subscriptions/{azure.subscription}/resourceGroups/no-such-group"
    absent = f"{group}/providers/Microsoft.Storage/storageAccounts/x"
    assert await azure.resources.get(absent, api_version=STORAGE_VERSION) is None
    assert await azure.resources.get(group, api_version="2021-04-01") is None


async def test_linkers_of_a_cluster_without_any_are_none(azure: Azure):
    assert await azure.linkers.list(azure.cluster_id) == []
    linker_id = f"{azure.cluster_id}/providers/Microsoft.ServiceLinker/linkers/none"
    assert await azure.linkers.get(linker_id) is None
    assert await azure.linkers.list(f"{azure.cluster_id}x") == []


# --- clusters ------------------------------------------------------------------------------------------


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


async def test_namespaces_are_known(azure: Azure):
    assert await azure.clusters.namespace_exists(azure.cluster_id, NAMESPACE) is True
    assert await azure.clusters.namespace_exists(azure.cluster_id, "no-such-namespace") is False


async def test_a_secret_is_applied_read_and_its_stale_keys_pruned(azure: Azure):
    name = f"sc-{uuid.uuid4().hex[:8]}-secret"
    place = (azure.cluster_id, "Secret", NAMESPACE, name)
    assert await azure.clusters.get(*place) is None
    made = await azure.clusters.apply(
        *place, labels={"app": "mooring"}, annotations={"note": "é"}, data={"A": "1", "B": "zwölf"}
    )
    assert (made.kind, made.namespace, made.name) == ("Secret", NAMESPACE, name)
    assert made.uid
    assert await azure.clusters.get(*place, values=True) == made
    assert await azure.clusters.get(*place) == dataclasses.replace(made, data={})
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


async def test_applying_into_a_namespace_that_is_missing_is_permanent(azure: Azure):
    with pytest.raises(PermanentError, match="namespace-not-found"):
        await azure.clusters.apply(
            azure.cluster_id, "ServiceAccount", "no-such-namespace", "a", labels={}, annotations={}
        )


async def test_an_object_is_deleted_only_as_it_was_read(azure: Azure):
    name = f"sc-account-{uuid.uuid4().hex[:8]}"
    place = (azure.cluster_id, "ServiceAccount", NAMESPACE, name)
    made = await azure.clusters.apply(*place, labels={"n": "1"}, annotations={})
    changed = await azure.clusters.apply(*place, labels={"n": "2"}, annotations={})
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
        await azure.clusters.get(azure.cluster_id, "ConfigMap", NAMESPACE, "x")


async def test_pods_say_what_they_use(azure: Azure):
    name = f"pod-{uuid.uuid4().hex[:8]}"
    azure.put_pod(
        name,
        {
            "serviceAccountName": "default",
            "containers": [
                {
                    "name": "main",
                    "image": "example",
                    "envFrom": [{"secretRef": {"name": "from-env"}}, {"configMapRef": {"name": "config"}}],
                    "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "one-key", "key": "k"}}}],
                },
            ],
            "initContainers": [
                {"name": "init", "image": "example", "envFrom": [{"secretRef": {"name": "from-init"}}]}
            ],
            "volumes": [
                {"name": "a", "secret": {"secretName": "mounted"}},
                {"name": "b", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
            ],
            "imagePullSecrets": [{"name": "registry"}],
        },
    )
    uses = await azure.clusters.list_uses(azure.cluster_id, NAMESPACE)
    [found] = [use for use in uses if use.name == name]
    assert (found.kind, found.service_account) == ("Pod", "default")
    # A cluster of before 1.24 mounts a token secret into every pod.
    secrets = tuple(one for one in found.secrets if not one.startswith("default-token-"))
    assert secrets == ("from-env", "from-init", "mounted", "one-key", "projected", "registry")


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
