"""A right that the app lacks is told by an alert, also where no step can say so."""

import logging

import pytest

from shared.errors import PermanentError, TransientError
from tests.fakes.http_app import handlers_of
from tests.fakes.local_app import LocalApp, create_body
from tests.fakes.scripted_step import script
from tests.unit.queries import kept


@pytest.mark.parametrize("port", ["state", "queue"])
async def test_a_timer_that_may_not_use_the_storage_account_says_so_and_fails(
    app: LocalApp, caplog: pytest.LogCaptureFixture, port: str
):
    app.journal.before = lambda call: (
        TransientError("storage-access-denied", "why") if call.name.startswith(f"{port}.") else None
    )
    with pytest.raises(TransientError, match="storage-access-denied"):
        await handlers_of(app)["tend"](None)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["tend-failed code=storage-access-denied detail=why"]
    assert caplog.records[0].levelno == logging.ERROR
    assert kept("access-denied", lines) == [{"code": "storage-access-denied", "step": ""}]


async def test_a_timer_that_fails_of_something_else_is_no_missing_right(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    app.journal.before = lambda call: TransientError("storage-busy") if call.name == "state.query" else None
    with pytest.raises(TransientError, match="storage-busy"):
        await handlers_of(app)["tend"](None)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["tend-failed code=storage-busy"]
    assert kept("access-denied", lines) == []


async def test_a_step_that_may_not_do_something_is_told_with_its_name(
    app: LocalApp, caplog: pytest.LogCaptureFixture
):
    script(app, "preflight", PermanentError("kubernetes-access-denied", "no"))
    with caplog.at_level(logging.INFO, "mooring"):
        await app.send(create_body())
        await app.settle()
    told = kept("access-denied", [record.getMessage() for record in caplog.records])
    assert told == [{"code": "kubernetes-access-denied", "step": "preflight"}]
