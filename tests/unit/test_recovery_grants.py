"""Lost tables of connections by rights that services keep themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.models import ConnectionId
from tests.fakes.local_app import LocalApp, delete_body
from tests.fakes.recoveries import lose_tables, outcomes, recovered
from tests.fakes.sweeps import connected
from tests.unit.test_service_grants_whole import app as whole_app
from tests.unit.test_service_grants_whole import of_every_type, target

NOTHING = {"identities": [], "assignments": [], "objects": [], "users": []}


@pytest.fixture
def app(tmp_path: Path) -> LocalApp:
    return whole_app.__wrapped__(tmp_path)  # type: ignore[attr-defined]


@of_every_type
async def test_a_right_that_the_service_keeps_is_recovered_and_goes_with_its_connection(
    app: LocalApp, kind: str
):
    connection_id = ConnectionId(await connected(app, target=target(kind)))
    before = (await app.services.state.intents(connection_id))["role_assignments"]
    lose_tables(app)
    assert outcomes(await recovered(app)) == {"orders-blob": "recovered"}
    assert (await app.services.state.intents(connection_id))["role_assignments"] == before
    await app.send(delete_body(), message_id="d")
    await app.settle(seconds=3600.0)
    assert app.leftovers() == NOTHING


@of_every_type
async def test_without_that_right_a_connection_is_not_recovered(app: LocalApp, kind: str):
    await connected(app, target=target(kind))
    lose_tables(app)
    app.world.grants.clear()
    assert outcomes(await recovered(app)) == {"orders-blob": "role-missing"}
