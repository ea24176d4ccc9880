"""Every setting of the app, typed and checked when it starts; the only reader of the environment.

A setting is one field: its variable, what it means, its unit and its default stand together, and
``local.settings.sample.json`` is tested to name exactly these. Nothing here knows who uses a value.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from shared import schedules
from shared.errors import PermanentError

_SWEEP_VARIABLE, _SWEEP_DEFAULT = "MOORING_SWEEP_SCHEDULE", "0 7 * * * *"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class PruneMode(StrEnum):
    """What pruning may do."""

    ENFORCE = "enforce"
    REPORT = "report"
    """Walk the same path and change nothing."""


class DriftMode(StrEnum):
    """What becomes of drift."""

    REPORT = "report"
    REPAIR = "repair"
    """What we made and somebody changed or removed is made as it was."""


def _text(raw: str) -> str:
    return raw


def _url(raw: str) -> str:
    if not re.fullmatch(r"https://[^\s?#]+", raw):
        raise ValueError("must be an https URL without query")
    return raw.rstrip("/")


def _optional_url(raw: str) -> str:
    return _url(raw) if raw else ""


def _guid(raw: str) -> str:
    if not _GUID.fullmatch(raw.lower()):
        raise ValueError("must be a GUID")
    return raw.lower()


def _optional_guid(raw: str) -> str:
    return _guid(raw) if raw else ""


def _guids(raw: str) -> tuple[str, ...]:
    found = tuple(_guid(part.strip()) for part in raw.split(",") if part.strip())
    if not found:
        raise ValueError("must name at least one GUID")
    return found


def _group_id(raw: str) -> str:
    if not re.fullmatch(r"/subscriptions/[^/\s]+/resourcegroups/[^/\s]+", raw, re.IGNORECASE):
        raise ValueError("must be a resource group's id: /subscriptions/.../resourceGroups/...")
    return raw


def _container(raw: str) -> str:
    if raw and not re.fullmatch(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*", raw):
        raise ValueError("must be a container's name: 3 to 63 lower-case letters, digits and single dashes")
    return raw


def _switch(raw: str) -> bool:
    if raw.lower() not in {"on", "off"}:
        raise ValueError("must be on or off")
    return raw.lower() == "on"


def _mode(raw: str) -> PruneMode:
    if raw.lower() not in set(PruneMode):
        raise ValueError("must be enforce or report")
    return PruneMode(raw.lower())


def _drift(raw: str) -> DriftMode:
    if raw.lower() not in set(DriftMode):
        raise ValueError("must be report or repair")
    return DriftMode(raw.lower())


def _schedule(raw: str) -> str:
    reason = schedules.fault(raw)
    if reason:
        raise ValueError(reason)
    return raw


def _whole(least: int, most: int = 999_999_999) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not re.fullmatch(r"\d{1,9}", raw) or not least <= int(raw) <= most:
            bound = "or more" if most == 999_999_999 else f"to {most}"  # noqa: PLR2004 - the default
            raise ValueError(f"must be a whole number, {least} {bound}")
        return int(raw)

    return parse


def _share(raw: str) -> float:
    if not re.fullmatch(r"0(\.\d{1,6})?|1(\.0{1,6})?", raw):
        raise ValueError("must be a number from 0 to 1")
    return float(raw)


def _scale(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = 0.0
    if not 0.001 <= value <= 1000:  # noqa: PLR2004 - also refuses nan and infinity
        raise ValueError("must be a number between 0.001 and 1000")
    return value


def _setting(variable: str, parse: Callable[[str], Any], default: str | None = None) -> Any:
    metadata = {"variable": variable, "parse": parse, "default": default}
    if default is None:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(metadata=metadata, default=parse(default))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The app's settings. A field without default is required."""

    queue_endpoint: str = _setting("AzureWebJobsStorage__queueServiceUri", _url)
    """URL of the storage account's queue service; the triggers use the same account."""
    table_endpoint: str = _setting("AzureWebJobsStorage__tableServiceUri", _url)
    """URL of the storage account's table service, where all state is."""
    blob_endpoint: str = _setting("AzureWebJobsStorage__blobServiceUri", _optional_url, "")
    """URL of the storage account's blob service, where the Functions host keeps locks and keys; the app
    itself needs it for the dead-letter container only."""
    dead_letter_container: str = _setting("MOORING_DEAD_LETTER_CONTAINER", _container, "")
    """Container of the storage account into which Event Grid writes events that it could not deliver; empty
    for none."""
    client_id: str = _setting("AZURE_CLIENT_ID", _optional_guid, "")
    """Client id of the app's own user-assigned identity; empty on a desk, where a developer's sign-in
    is used."""
    tenant_id: str = _setting("AZURE_TENANT_ID", _guid)
    """Entra tenant of the subscriptions and clusters, a GUID."""
    authority_host: str = _setting("AZURE_AUTHORITY_HOST", _url, "https://login.microsoftonline.com")
    """Entra's token service; another one in sovereign clouds."""
    arm_endpoint: str = _setting("MOORING_ARM_ENDPOINT", _url, "https://management.azure.com")
    """Azure Resource Manager; another one in sovereign clouds."""
    ca_file: str = _setting("MOORING_CA_FILE", _text, "")
    """PEM file of certificate authorities to trust for Azure's endpoints instead of the system's (a proxy
    that inspects TLS, a sandbox); empty for the system's."""
    postgres_port: int = _setting("MOORING_POSTGRES_PORT", _whole(1, 65535), "5432")
    """Port of PostgreSQL servers; Azure's is always 5432, a sandbox's may be another."""
    subscription_ids: tuple[str, ...] = _setting("MOORING_SUBSCRIPTION_IDS", _guids)
    """Subscriptions in which clusters and targets may be, GUIDs separated by commas."""
    identity_resource_group_id: str = _setting("MOORING_IDENTITY_RESOURCE_GROUP_ID", _group_id)
    """Id of the resource group in which managed identities are made."""
    policy_file: str = _setting("MOORING_POLICY_FILE", _text, "policy.toml")
    """File that says who may connect to what; a path relative to the app's folder."""
    prove: bool = _setting("MOORING_PROVE", _switch, "off")
    """``on``: mint a service-account token and read the target once before saying usable. Needs a role
    that may mint tokens, hence ``off`` by default."""
    prune_mode: PruneMode = _setting("MOORING_PRUNE_MODE", _mode, "enforce")  # noqa: RUF009 - a field
    """``enforce`` removes what is proven orphaned; ``report`` walks the same path and changes nothing."""
    prune_confirm_seconds: int = _setting("MOORING_PRUNE_CONFIRM_SECONDS", _whole(0), "60")
    """Seconds between the two looks that must both say that a resource is gone."""
    prune_grace_seconds: int = _setting("MOORING_PRUNE_GRACE_SECONDS", _whole(0), "1209600")
    """Seconds that a deleted target which can be recovered is waited for (default 14 days)."""
    prune_cap_per_hour: int = _setting("MOORING_PRUNE_CAP_PER_HOUR", _whole(1, 500), "20")
    """Connections of a cluster that may be pruned in one hour, at most 500; the rest waits for a release."""
    orphan_retention_seconds: int = _setting("MOORING_ORPHAN_RETENTION_SECONDS", _whole(0), "1209600")
    """Seconds for which identity and roles of a connection are kept for a rebuild of its cluster (default
    14 days)."""
    role_assignment_limit: int = _setting("MOORING_ROLE_ASSIGNMENT_LIMIT", _whole(1), "3900")
    """Role assignments that a target's subscription may hold in the end for a create to make one; Azure
    allows 4000 and Mooring leaves the rest to others."""
    hold_recheck_seconds: int = _setting("MOORING_HOLD_RECHECK_SECONDS", _whole(1), "300")
    """Seconds between two looks at something held, such as a secret that a pod still uses."""
    step_deadline_seconds: int = _setting("MOORING_STEP_DEADLINE_SECONDS", _whole(5), "90")
    """Seconds one run of a step may take."""
    step_lease_seconds: int = _setting("MOORING_STEP_LEASE_SECONDS", _whole(10), "150")
    """Seconds for which a run owns its step; more than the deadline."""
    sweep_schedule: str = _setting(_SWEEP_VARIABLE, _schedule, _SWEEP_DEFAULT)
    """When a sweep begins: NCRONTAB, seconds first, UTC (default seven minutes past each hour)."""
    sweep_slice_seconds: int = _setting("MOORING_SWEEP_SLICE_SECONDS", _whole(1, 120), "60")
    """Seconds after which a slice of a sweep goes on in a new message."""
    sweep_limit_seconds: int = _setting("MOORING_SWEEP_LIMIT_SECONDS", _whole(60), "21600")
    """Seconds after which a sweep that has not ended is given up for a new one (default 6 hours)."""
    drift: DriftMode = _setting("MOORING_DRIFT", _drift, "report")  # noqa: RUF009 - a field
    """``report`` shows what was changed or removed by hand; ``repair`` makes it anew as well."""
    history_days: int = _setting("MOORING_HISTORY_DAYS", _whole(8), "90")
    """Days for which ended operations, requests, sweeps and what prunes saved are kept; more than the week
    that a message can wait in a queue."""
    outcome_topic_endpoint: str = _setting("MOORING_OUTCOME_TOPIC_ENDPOINT", _optional_url, "")
    """Event Grid topic that is told of ended operations; empty for none."""
    storage_api_version: str = _setting("MOORING_STORAGE_API_VERSION", _text, "")
    """Version header of the queue and blob services; empty for the SDK's own. For emulators that lag
    behind."""
    insights: str = _setting("APPLICATIONINSIGHTS_CONNECTION_STRING", _text, "")
    """Connection string of Application Insights, to which spans and metrics are sent with the app's identity;
    empty: nothing is sent, and no part of OpenTelemetry is loaded."""
    trace_ratio: float = _setting("MOORING_TRACE_RATIO", _share, "1.0")
    """Share of operations and sweeps whose traces are told, 0 to 1; metrics always are."""
    trace_file: str = _setting("MOORING_TRACE_FILE", _text, "")
    """File to which spans are appended as lines of JSON, for a sandbox; empty for none."""
    retry_scale: float = _setting("MOORING_RETRY_SCALE", _scale, "1.0")
    """Factor on all retry and wait intervals; below 1 only in tests and demonstrations."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check all settings.

        Args:
            environment: Variables by name; blanks around values do not count.

        Raises:
            PermanentError: ``settings-invalid``; the detail names each bad or missing variable.
        """
        values: dict[str, Any] = {}
        faults: list[str] = []
        for field in dataclasses.fields(cls):
            variable, default = field.metadata["variable"], field.metadata["default"]
            raw = environment.get(variable, default)
            if raw is None:
                faults.append(f"{variable}: is missing")
                continue
            try:
                values[field.name] = field.metadata["parse"](raw.strip())
            except ValueError as error:
                faults.append(f"{variable}: {error}")
        lease, deadline = values.get("step_lease_seconds", 1), values.get("step_deadline_seconds", 0)
        if lease <= deadline:
            faults.append("MOORING_STEP_LEASE_SECONDS: must be more than MOORING_STEP_DEADLINE_SECONDS")
        if values.get("dead_letter_container") and not values.get("blob_endpoint"):
            faults.append("AzureWebJobsStorage__blobServiceUri: is needed for MOORING_DEAD_LETTER_CONTAINER")
        if faults:
            raise PermanentError(
                "settings-invalid",
                "; ".join(faults),
                remedy="Correct the app settings: local.settings.sample.json has every name with a value.",
            )
        return cls(**values)

    @classmethod
    def load(cls) -> Settings:
        """Settings of this process."""
        return cls.from_environment(os.environ)


def sweep_schedule() -> str:
    """The sweep's schedule, which the host wants before any other setting is read.

    One that is not valid is the default here, and is refused with the other settings.
    """
    raw = os.environ.get(_SWEEP_VARIABLE, "").strip()
    return _SWEEP_DEFAULT if schedules.fault(raw) else raw


def variables() -> tuple[str, ...]:
    """Names of all variables, in the order of the fields."""
    return tuple(field.metadata["variable"] for field in dataclasses.fields(Settings))
