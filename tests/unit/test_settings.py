"""Settings are typed, complete and checked when the app starts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from shared.errors import PermanentError
from shared.settings import PruneMode, Settings, sweep_schedule, variables

SAMPLE = Path(__file__).parents[2] / "local.settings.sample.json"
SOURCE = Path(__file__).parents[2] / "shared" / "settings.py"
GUID = "0A0A0A0A-1111-4111-8111-111111111111"
LEAST = {
    "AzureWebJobsStorage__queueServiceUri": "https://a.queue.core.windows.net/",
    "AzureWebJobsStorage__tableServiceUri": "https://a.table.core.windows.net",
    "AZURE_TENANT_ID": GUID,
    "MOORING_SUBSCRIPTION_IDS": f"{GUID}, {GUID.lower()[:-1]}2",
    "MOORING_IDENTITY_RESOURCE_GROUP_ID": f"/subscriptions/{GUID}/resourceGroups/ids",
}


def test_the_sample_names_exactly_the_settings_and_is_valid():
    sample = json.loads(SAMPLE.read_text())
    assert tuple(sample["Values"]) == variables()
    assert sample["IsEncrypted"] is False
    Settings.from_environment(sample["Values"])


def test_every_setting_has_a_docstring_below_it():
    lines = SOURCE.read_text().splitlines()
    for number, line in enumerate(lines):
        if "= _setting(" in line:
            assert lines[number + 1].strip().startswith('"""'), line


def test_the_required_settings_alone_suffice_and_are_normalised():
    settings = Settings.from_environment(LEAST)
    assert settings.queue_endpoint == "https://a.queue.core.windows.net"
    assert settings.tenant_id == GUID.lower()
    assert settings.subscription_ids == (GUID.lower(), f"{GUID.lower()[:-1]}2")
    assert settings.client_id == ""
    assert settings.prune_mode is PruneMode.ENFORCE
    assert settings.prove is False
    assert (settings.step_deadline_seconds, settings.step_lease_seconds) == (90, 150)
    assert settings.prune_grace_seconds == 14 * 86_400
    assert settings.retry_scale == 1.0


def test_every_missing_required_setting_is_named():
    with pytest.raises(PermanentError, match="settings-invalid") as caught:
        Settings.from_environment({})
    for variable in ("AzureWebJobsStorage__queueServiceUri", "AZURE_TENANT_ID"):
        assert variable in caught.value.detail
    assert "local.settings.sample.json" in caught.value.remedy


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AzureWebJobsStorage__queueServiceUri", "http://a.queue.core.windows.net"),
        ("AzureWebJobsStorage__tableServiceUri", "https://a/?sig=secret"),
        ("AZURE_CLIENT_ID", "me"),
        ("AZURE_TENANT_ID", ""),
        ("MOORING_SUBSCRIPTION_IDS", " , "),
        ("MOORING_SUBSCRIPTION_IDS", "x"),
        ("MOORING_IDENTITY_RESOURCE_GROUP_ID", "/subscriptions/x"),
        ("MOORING_PROVE", "yes"),
        ("MOORING_PRUNE_MODE", "dry"),
        ("MOORING_PRUNE_CONFIRM_SECONDS", "-1"),
        ("MOORING_PRUNE_CAP_PER_HOUR", "0"),
        ("MOORING_PRUNE_CAP_PER_HOUR", "501"),
        ("MOORING_HOLD_RECHECK_SECONDS", "5m"),
        ("MOORING_STEP_LEASE_SECONDS", "90"),
        ("MOORING_OUTCOME_TOPIC_ENDPOINT", "topic"),
        ("MOORING_RETRY_SCALE", "nan"),
        ("MOORING_RETRY_SCALE", "0"),
        ("MOORING_DRIFT", "mend"),
        ("MOORING_SWEEP_SCHEDULE", "hourly"),
        ("MOORING_SWEEP_SCHEDULE", "0 61 * * * *"),
        ("MOORING_SWEEP_SCHEDULE", "0 0 0 31 2 *"),
        ("MOORING_SWEEP_SLICE_SECONDS", "121"),
        ("MOORING_HISTORY_DAYS", "7"),
    ],
)
def test_a_bad_value_is_refused_under_its_variables_name(variable: str, value: str):
    with pytest.raises(PermanentError, match="settings-invalid") as caught:
        Settings.from_environment({**LEAST, variable: value})
    assert caught.value.detail.startswith(f"{variable}: ")
    assert "secret" not in caught.value.detail


def test_switches_modes_and_blanks_are_read_kindly():
    settings = Settings.from_environment(
        {**LEAST, "MOORING_PROVE": "On", "MOORING_PRUNE_MODE": " Report ", "MOORING_RETRY_SCALE": "0.01"}
    )
    assert (settings.prove, settings.prune_mode, settings.retry_scale) == (True, PruneMode.REPORT, 0.01)


def test_settings_cannot_be_changed():
    settings = Settings.from_environment(LEAST)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.prove = True  # type: ignore[misc]


def test_the_process_environment_is_what_load_reads(monkeypatch: pytest.MonkeyPatch):
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)
    assert Settings.load().tenant_id == GUID.lower()


@pytest.mark.parametrize(
    ("raw", "schedule"),
    [
        ("", "0 7 * * * *"),
        ("0 */15 * * * *", "0 */15 * * * *"),
        ("every now and then", "0 7 * * * *"),
        ("0 61 * * * *", "0 7 * * * *"),
    ],
)
def test_the_sweeps_schedule_is_known_before_any_other_setting(
    monkeypatch: pytest.MonkeyPatch, raw: str, schedule: str
):
    monkeypatch.setenv("MOORING_SWEEP_SCHEDULE", raw)
    assert sweep_schedule() == schedule
