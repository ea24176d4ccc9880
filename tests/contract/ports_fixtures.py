"""Fixtures of the Azure ports' contract, named as a plugin by each of its modules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.contract.ports_azure import Azure
from tests.contract.ports_fake import fake_azure
from tests.contract.ports_sandbox import Contract, adapters, running_sandbox


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


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
            cosmos=wired.cosmos,
            redis=wired.redis,
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
