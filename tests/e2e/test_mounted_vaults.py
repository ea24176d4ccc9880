"""A vault that pods mount: refused without the driver, then made, changed, used, validated and taken away."""

from __future__ import annotations

import pytest
import yaml

from tests.e2e.together import story
from tests.e2e.world import World

pytestmark = [pytest.mark.sandbox, pytest.mark.asyncio(loop_scope="session")]

DRIVER = "secrets-store.csi.k8s.io"


@story
async def test_a_vault_is_mounted_through_a_class_that_comes_and_goes_with_its_connection(world: World):
    namespace = await world.cluster.new_namespace("story-mounted")
    asked = world.spec(
        "mounted",
        namespace=namespace,
        target={"type": "keyvault", "id": world.contract.vault_id},
        clientType="none",
        settingsIn="secretProviderClass",
        vaultObjects=[{"name": "db-password", "type": "secret"}],
    )

    refused = await world.request("create", asked)
    assert (refused["state"], refused["code"]) == ("failed", "secrets-store-off")
    assert refused["remedy"].startswith("az aks enable-addons --addons azure-keyvault-secrets-provider")
    assert await world.cluster.names(namespace) == ([], [])

    await world.cluster.enable_secrets_store()
    connection = await world.create(asked)
    name = connection["kubernetes"]["secretProviderClass"]
    made = await world.cluster.provider_class(namespace, name)
    assert made is not None
    assert made["spec"]["provider"] == "azure"
    parameters = made["spec"]["parameters"]
    assert parameters["clientID"] == connection["identity"]["clientId"]
    assert parameters["tenantId"] == world.contract.tenant_id
    assert parameters["keyvaultName"] == world.contract.vault_id.rsplit("/", 1)[-1]
    secrets, accounts = await world.cluster.names(namespace)
    assert (secrets, accounts) == ([], [connection["kubernetes"]["serviceAccount"]])

    pod = yaml.safe_load((await world.api("GET", f"connections/{connection['id']}/manifest?kind=pod")).body)
    (volume,) = pod["spec"]["volumes"]
    assert volume["csi"]["driver"] == DRIVER
    assert volume["csi"]["volumeAttributes"]["secretProviderClass"] == name

    more = {**asked, "vaultObjects": [*asked["vaultObjects"], {"name": "site", "type": "cert"}]}
    updated = await world.request("update", more)
    assert updated["state"] == "succeeded", updated
    changed = await world.cluster.provider_class(namespace, name)
    assert changed is not None
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    listed = yaml.safe_load(changed["spec"]["parameters"]["objects"])["array"]
    assert [yaml.safe_load(one)["objectName"] for one in listed] == ["db-password", "site"]

    validated = await world.request("validate", more)
    results = {one["name"]: one["result"] for one in validated["findings"]}
    assert (results["secrets-store-on"], results["settings-keys"]) == ("ok", "ok")

    await world.delete(more)
    assert await world.cluster.provider_class(namespace, name) is None
    assert await world.cluster.names(namespace) == ([], [])
