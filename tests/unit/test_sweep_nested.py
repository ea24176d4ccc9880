"""A target below another resource is in no list of a subscription: its parent is, and it is asked itself."""

import dataclasses

import pytest

from shared.catalogue import Catalogue
from shared.errors import PermanentError
from shared.sweeping.subscription_slice import SubscriptionSlice
from tests.fakes.journal import Call
from tests.fakes.local_app import STORAGE, LocalApp
from tests.fakes.sweeps import connected, prunes, swept

NESTED = f"{STORAGE}/blobServices/default"


@pytest.fixture
async def nested(app: LocalApp) -> LocalApp:
    """As if the catalogue took the blob service for the target."""
    connection_id = await connected(app)
    assert connection_id
    app.world.add_resource(NESTED)
    slices = app.services.sweeping.slices
    worker = slices.workers["subscription"]
    assert isinstance(worker, SubscriptionSlice)
    rows = worker.lookout.catalogue.rows
    template = f"{rows[0].existence_template}/blobServices/default"
    row = dataclasses.replace(rows[0], existence_template=template)
    lookout = dataclasses.replace(worker.lookout, catalogue=Catalogue((row, *rows[1:])))
    workers = {**slices.workers, "subscription": SubscriptionSlice(lookout=lookout)}
    sweeping = dataclasses.replace(app.services.sweeping, slices=dataclasses.replace(slices, workers=workers))
    app.services = dataclasses.replace(app.services, sweeping=sweeping)
    return app


async def test_it_is_asked_for_once_and_is_there(nested: LocalApp):
    await connected(nested, "orders-second")
    before = nested.journal.names().count("resources.get")
    assert "prunes" not in (await swept(nested))["totals"]
    assert nested.journal.names().count("resources.get") == before + 1


async def test_it_is_gone(nested: LocalApp):
    nested.world.remove(NESTED)
    assert (await swept(nested))["totals"]["prunes"] == {"target": 1}


async def test_its_parent_is_gone_and_it_is_not_even_asked_for(nested: LocalApp):
    nested.world.remove(STORAGE)
    before = nested.journal.names().count("resources.get")
    assert (await swept(nested))["totals"]["prunes"] == {"target": 1}
    assert nested.journal.names().count("resources.get") == before


async def test_it_may_not_be_read(nested: LocalApp):
    def refuse(call: Call) -> BaseException | None:
        return PermanentError("access-denied", "no") if call.name == "resources.get" else None

    nested.journal.before = refuse
    found = await swept(nested)
    assert found["details"] == {"target-not-readable": 1}
    assert "prunes" not in found["totals"]


async def test_a_target_that_the_catalogue_does_not_know_says_nothing(app: LocalApp):
    connection_id = await connected(app)
    slices = app.services.sweeping.slices
    worker = slices.workers["subscription"]
    assert isinstance(worker, SubscriptionSlice)
    lookout = dataclasses.replace(worker.lookout, catalogue=Catalogue(()))
    workers = {**slices.workers, "subscription": SubscriptionSlice(lookout=lookout)}
    sweeping = dataclasses.replace(app.services.sweeping, slices=dataclasses.replace(slices, workers=workers))
    app.services = dataclasses.replace(app.services, sweeping=sweeping)
    app.world.remove(STORAGE)
    await swept(app)
    assert await prunes(app, connection_id) == []
