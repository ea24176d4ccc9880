"""Log lines say what they are about, in fields and in text."""

from __future__ import annotations

import logging

import pytest

from shared.logs import FIELD_LIMIT, bind, quieten

LOGGER = logging.getLogger("shared.test")


def test_bound_fields_are_in_the_record_and_behind_the_event(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    log = bind(LOGGER, connection_id="c1", operation_id="c1-o", step="preflight", attempt=2)
    log.info("step-ended", extra={"outcome": "done", "seconds": 1.5})
    [record] = caplog.records
    assert record.getMessage() == (
        "step-ended connection_id=c1 operation_id=c1-o step=preflight attempt=2 outcome=done seconds=1.5"
    )
    assert (record.connection_id, record.attempt, record.outcome, record.seconds) == ("c1", 2, "done", 1.5)


def test_unknown_fields_are_left_out_and_more_can_be_added(caplog: pytest.LogCaptureFixture):
    log = bind(LOGGER, connection_id="c1").with_fields(step="prove", empty="")
    log.warning("step-waits")
    assert caplog.records[0].getMessage() == "step-waits connection_id=c1 step=prove"


def test_foreign_text_is_cut_and_kept_on_one_line(caplog: pytest.LogCaptureFixture):
    bind(LOGGER).warning("failed", extra={"detail": "100 %s\n" + "x" * 500})
    message = caplog.records[0].getMessage()
    assert "\n" not in message
    assert message.startswith("failed detail=100 %s xxx")
    assert len(message) == len("failed detail=") + FIELD_LIMIT


def test_fields_named_like_attributes_of_records_are_renamed(caplog: pytest.LogCaptureFixture):
    bind(LOGGER).warning("made", extra={"name": "sc-x", "message": "m"})
    assert caplog.records[0].name_ == "sc-x"
    assert caplog.records[0].name == "shared.test"


def test_values_as_positional_arguments_are_refused():
    with pytest.raises(TypeError, match="constant"):
        bind(LOGGER).warning("made %s", "x")


def test_a_level_that_is_off_costs_no_formatting(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    bind(LOGGER, step="x").debug("step-starts")
    assert caplog.records == []


def test_sdk_loggers_are_quietened():
    quieten()
    assert not logging.getLogger("azure.core.pipeline").isEnabledFor(logging.INFO)
    assert logging.getLogger("azure.core.pipeline").isEnabledFor(logging.WARNING)
