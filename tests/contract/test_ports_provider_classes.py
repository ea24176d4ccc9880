"""SecretProviderClasses, which an add-on brings: fakes and adapters keep the same promises of them."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import pytest

from shared.errors import PermanentError, TransientError
from tests.contract.ports_azure import NAMESPACE, Azure
from tests.contract.ports_secrets_store import require_custom_objects, secrets_store, sync_to_a_secret

pytest_plugins = ("tests.contract.ports_fixtures",)

KIND = "SecretProviderClass"
MARKS: dict[str, Any] = {"labels": {"a": "b"}, "annotations": {"note": "n"}}


def place(azure: Azure) -> tuple[str, str, str, str]:
    return azure.cluster_id, KIND, NAMESPACE, f"sc-{uuid.uuid4().hex[:8]}-secretproviderclass"


async def test_a_cluster_without_the_driver_has_none_and_takes_none(azure: Azure):
    where = place(azure)
    assert await azure.clusters.serves(azure.cluster_id, KIND) is False
    assert await azure.clusters.serves(azure.cluster_id, "Secret") is True
    assert await azure.clusters.get(*where) is None
    assert await azure.clusters.list_objects(azure.cluster_id, KIND) == []
    with pytest.raises(PermanentError, match="kind-not-served"):
        await azure.clusters.create(*where, **MARKS, data={"a": "1"})
    with pytest.raises(PermanentError, match="kind-not-served"):
        await azure.clusters.apply(*where, **MARKS, data={"a": "1"})


async def test_a_cluster_with_the_driver_has_none_at_first(azure: Azure):
    with secrets_store(azure):
        assert await azure.clusters.serves(azure.cluster_id, KIND) is True
        assert await azure.clusters.get(*place(azure)) is None
        assert await azure.clusters.list_objects(azure.cluster_id, KIND, NAMESPACE) == []


async def test_one_is_made_once_changed_listed_and_deleted_only_as_it_was_read(azure: Azure):
    require_custom_objects(azure)
    where = place(azure)
    with secrets_store(azure):
        assert await azure.clusters.serves(azure.cluster_id, KIND) is True
        assert await azure.clusters.get(*where) is None
        made = await azure.clusters.create(*where, **MARKS, data={"keyvaultName": "v", "old": "x"})
        assert (dict(made.data), made.secret_type) == ({"keyvaultName": "v", "old": "x"}, "")
        with pytest.raises(PermanentError, match="object-exists"):
            await azure.clusters.create(*where, **MARKS, data={})
        exact = {"uid": made.uid, "resource_version": made.resource_version}
        changed = await azure.clusters.apply(*where, **MARKS, data={"keyvaultName": "w"}, **exact)
        assert (changed.uid, dict(changed.data)) == (made.uid, {"keyvaultName": "w"})
        assert await azure.clusters.get(*where, values=True) == changed
        assert await azure.clusters.get(*where) == dataclasses.replace(changed, data={})
        listed = await azure.clusters.list_objects(azure.cluster_id, KIND, NAMESPACE)
        assert listed == [dataclasses.replace(changed, data={})]
        with pytest.raises(TransientError):
            await azure.clusters.delete(*where, **exact)
        exact = {"uid": changed.uid, "resource_version": changed.resource_version}
        assert await azure.clusters.delete(*where, **exact) is True
        assert await azure.clusters.get(*where) is None


async def test_with_the_driver_its_objects_go(azure: Azure):
    require_custom_objects(azure)
    where = place(azure)
    with secrets_store(azure):
        await azure.clusters.create(*where, **MARKS, data={"keyvaultName": "v"})
    assert await azure.clusters.get(*where) is None
    with secrets_store(azure):
        assert await azure.clusters.get(*where) is None


async def test_what_somebody_adds_besides_parameters_is_told(azure: Azure):
    if azure.fake_clusters is not None:
        pytest.skip("the fake keeps no more than what is written")
    require_custom_objects(azure)
    where = place(azure)
    with secrets_store(azure):
        await azure.clusters.create(*where, **MARKS, data={"keyvaultName": "v"})
        sync_to_a_secret(azure, where[-1])
        found = await azure.clusters.get(*where, values=True)
        assert found is not None
        assert found.secret_type == "azure with secretObjects"


async def test_whoever_mounts_one_uses_it(azure: Azure):
    name = f"mounts-{uuid.uuid4().hex[:8]}"
    source = {"driver": "secrets-store.csi.k8s.io", "readOnly": True}
    attributes = {"secretProviderClass": "sc-v-secretproviderclass"}
    volumes = [{"name": "v", "csi": {**source, "volumeAttributes": attributes}}]
    azure.put_pod(name, {"containers": [{"name": "main", "image": "example"}], "volumes": volumes})
    (found,) = [
        use for use in await azure.clusters.list_uses(azure.cluster_id, NAMESPACE) if use.name == name
    ]
    assert found.provider_classes == ("sc-v-secretproviderclass",)
