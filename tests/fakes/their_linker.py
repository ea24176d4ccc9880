"""A connection as Service Connector makes it: linker, identity, credential, role and cluster objects."""

from __future__ import annotations

import dataclasses

from shared import naming
from shared.ports import Credential, Identity, Linker, RoleAssignment
from tests.fakes.local_app import CLUSTER, GROUP, STORAGE, SUBSCRIPTION, LocalApp

LINKER = f"{CLUSTER}/providers/Microsoft.ServiceLinker/linkers/their_blob"
THEIRS = naming.connection_id(CLUSTER, "shop", "their_blob")
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-theirs"
CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
"""Storage Blob Data Contributor."""
SECRET = "sc-theirblob-secret"
ASSIGNMENT = "55555555-5555-4555-8555-555555555555"
CREDENTIAL = "sc-their_blob-0a1b2c3d"
POLICY = f"""
version = 1
[[allow]]
clusters = ["{CLUSTER}"]
namespaces = ["shop"]
subscriptions = ["{SUBSCRIPTION}"]
target_types = ["storage-blob"]
identities = ["{IDENTITY}"]
"""


def definition(role: str) -> str:
    """Id of a built-in role's definition."""
    return f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role}"


@dataclasses.dataclass(frozen=True, slots=True)
class TheirLinker:
    """What was made."""

    app: LocalApp
    identity: Identity

    @property
    def account(self) -> str:
        return f"sc-account-{self.identity.client_id}"

    def change(self, **changes: str) -> None:
        """Change the linker."""
        key = naming.fold_id(LINKER)
        self.app.world.linkers[key] = dataclasses.replace(self.app.world.linkers[key], **changes)

    def grant(self, scope: str, name: str, role: str = CONTRIBUTOR) -> None:
        """Assign a role to its identity."""
        self.app.world.assignments[naming.fold_id(scope), name] = RoleAssignment(
            scope=scope,
            name=name,
            principal_id=self.identity.principal_id,
            role_definition_id=definition(role),
        )

    def delete(self, *, credential: bool = True, role: bool = True) -> None:
        """Service Connector deletes it: the cluster objects stay, and perhaps more."""
        self.app.world.remove(LINKER)
        if credential:
            self.app.world.credentials[naming.fold_id(IDENTITY)].pop(CREDENTIAL, None)
        if role:
            self.app.world.assignments.pop((naming.fold_id(STORAGE), ASSIGNMENT), None)


def make_linker(app: LocalApp, *, target: str = f"{STORAGE}/blobServices/default") -> TheirLinker:
    """Make one, and a policy that lists it."""
    app.policy_file.write_text(POLICY)
    identity = Identity(
        resource_id=IDENTITY,
        client_id=app.world.guid(),
        principal_id=app.world.guid(),
        location="westeurope",
        tags={},
    )
    made = TheirLinker(app, identity)
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    credential = Credential(
        name=CREDENTIAL,
        issuer=cluster.described.issuer,
        subject=naming.subject("shop", made.account),
        audiences=(naming.AUDIENCE,),
    )
    app.world.identities[naming.fold_id(IDENTITY)] = identity
    app.world.credentials[naming.fold_id(IDENTITY)] = {CREDENTIAL: credential}
    made.grant(STORAGE, ASSIGNMENT)
    app.world.add_resource(LINKER)
    app.world.linkers[naming.fold_id(LINKER)] = Linker(
        resource_id=LINKER,
        name="their_blob",
        namespace="shop",
        target_id=target,
        client_id=identity.client_id,
        client_type="python",
        provisioning_state="Succeeded",
        auth_type="userAssignedIdentity",
    )
    settings = {
        "AZURE_STORAGEBLOB_RESOURCEENDPOINT": "https://orders.blob.core.windows.net/",
        "AZURE_STORAGEBLOB_CLIENTID": identity.client_id,
    }
    app.clusters.put_object(CLUSTER, "Secret", "shop", SECRET, data=settings)
    app.clusters.put_object(
        CLUSTER,
        "ServiceAccount",
        "shop",
        made.account,
        annotations={"azure.workload.identity/client-id": identity.client_id},
    )
    return made
