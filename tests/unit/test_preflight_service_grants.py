"""Before the first write a service that keeps rights is looked at: its room, its account, its login."""

from __future__ import annotations

from typing import Any

import pytest

from shared import naming
from shared.catalogue import catalogue
from shared.errors import PermanentError
from shared.ports import RoleAssignment
from tests.fakes.local_app import LocalApp
from tests.fakes.step_bench import Bench
from tests.unit.test_steps_service_grants import ACCOUNT, CACHE, DATABASE, READER, put_grant
from tests.unit.test_steps_service_grants import app as app_with_services


@pytest.fixture
def app(app: LocalApp) -> LocalApp:
    return app_with_services.__wrapped__(app)  # type: ignore[attr-defined]


async def test_an_account_that_is_full_is_refused_before_anything_is_made(app: LocalApp):
    row = catalogue().find("cosmos-sql")
    for _ in range(row.grants.limit):
        put_grant(app, ACCOUNT, app.world.guid(), READER, row)
    bench = Bench(app, target_type="cosmos-sql", target_id=DATABASE)
    with pytest.raises(PermanentError) as caught:
        await bench.apply("preflight")
    assert caught.value.code == "role-assignment-budget"
    assert caught.value.detail.startswith(f"2000 of 2000 on {ACCOUNT}")
    assert "--account-name cos" in caught.value.remedy
    app.world.grants.popitem()
    await bench.up_to("role_assignments")
    assert (await bench.check("preflight"))["role-assignment-room"].result == "ok", "its own is there"


async def test_grants_that_may_not_be_listed_are_a_finding_of_their_own(
    app: LocalApp, monkeypatch: pytest.MonkeyPatch
):
    async def denied(scope: str) -> list[RoleAssignment]:
        raise PermanentError("access-denied", "no", remedy="grant it")

    bench = Bench(app, target_type="cosmos-sql", target_id=DATABASE)
    monkeypatch.setattr(app.services.engine.outside.cosmos._port, "list", denied)  # type: ignore[attr-defined]
    [said] = (await bench.apply("preflight")).outputs["warnings"]
    assert (said["name"], said["result"], said["remedy"]) == ("role-assignment-room", "unknown", "grant it")


@pytest.mark.parametrize(
    ("properties", "finding", "result"),
    [
        ({"provisioningState": "Updating"}, "target-provisioned", "failed"),
        ({"publicNetworkAccess": "Disabled"}, "network", "failed"),
        ({"isVirtualNetworkFilterEnabled": True, "virtualNetworkRules": [{"id": "x"}]}, "network", "warning"),
    ],
)
async def test_what_the_account_says_counts_for_its_database(
    app: LocalApp, properties: dict[str, Any], finding: str, result: str
):
    bench = Bench(app, target_type="cosmos-sql", target_id=DATABASE)
    await bench.up_to("settings")
    app.world.resources[naming.fold_id(ACCOUNT)]["properties"] |= properties
    shown = (await bench.check("preflight"))[finding]
    assert (shown.result, ACCOUNT in shown.remedy) == (result, True)


async def test_an_account_of_another_api_is_refused_with_the_command_that_tells(app: LocalApp):
    app.world.resources[naming.fold_id(ACCOUNT)]["kind"] = "MongoDB"
    with pytest.raises(PermanentError, match="target-api-mismatch") as caught:
        await Bench(app, target_type="cosmos-sql", target_id=DATABASE).apply("preflight")
    assert "az cosmosdb show" in caught.value.remedy


async def test_a_cache_without_entra_is_refused_with_the_command_that_mends_it(app: LocalApp):
    app.world.resources[naming.fold_id(CACHE)]["properties"]["redisConfiguration"] = {}
    with pytest.raises(PermanentError, match="target-entra-off") as caught:
        await Bench(app, target_type="redis", target_id=CACHE).apply("preflight")
    assert "az redis update --name cache --resource-group rg" in caught.value.remedy
    assert "redisConfiguration.aad-enabled=true" in caught.value.remedy
