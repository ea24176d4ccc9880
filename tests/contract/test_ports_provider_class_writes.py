"""Writes of SecretProviderClasses: fakes and adapters keep the same promises, on the emulator.

Not on a real API server: the ones at hand, of Kubernetes before 1.22 built with Go 1.18 or newer, die of the
first custom object with a map in it. What they bear is in ``test_ports_provider_classes.py``.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import PermanentError, TransientError
from tests.contract.ports_azure import NAMESPACE, Azure
from tests.contract.ports_sandbox import Contract, running_sandbox
from tests.contract.ports_secrets_store import secrets_store, sync_to_a_secret

pytest_plugins = ("tests.contract.ports_fixtures",)

KIND = "SecretProviderClass"
MARKS: dict[str, Any] = {"labels": {"a": "b"}, "annotations": {"note": "n"}}


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox"), real_cluster=False) as running:
        yield running


def place(azure: Azure) -> tuple[str, str, str, str]:
    return azure.cluster_id, KIND, NAMESPACE, f"sc-{uuid.uuid4().hex[:8]}-secretproviderclass"


async def test_one_is_made_once_changed_listed_and_deleted_only_as_it_was_read(azure: Azure):
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
    where = place(azure)
    with secrets_store(azure):
        await azure.clusters.create(*where, **MARKS, data={"keyvaultName": "v"})
    assert await azure.clusters.get(*where) is None
    with secrets_store(azure):
        assert await azure.clusters.get(*where) is None


@pytest.mark.parametrize("azure", ["sandbox"], indirect=True)
async def test_what_somebody_adds_besides_parameters_is_told(azure: Azure):
    # The fake keeps no more than what is written.
    where = place(azure)
    with secrets_store(azure):
        await azure.clusters.create(*where, **MARKS, data={"keyvaultName": "v"})
        sync_to_a_secret(azure, where[-1])
        found = await azure.clusters.get(*where, values=True)
        assert found is not None
        assert found.secret_type == "azure with secretObjects"
