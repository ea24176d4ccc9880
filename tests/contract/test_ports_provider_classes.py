"""SecretProviderClasses, which an add-on brings: fakes and adapters keep the same promises of them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from shared.errors import PermanentError
from tests.contract.ports_azure import NAMESPACE, Azure
from tests.contract.ports_secrets_store import secrets_store

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
