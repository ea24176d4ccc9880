"""host.json and the app settings, read as the real host reads them.

Defaults and limits: ``QueuesOptions`` of the Storage Queues extension and
``ScriptJobHostOptionsSetup`` of the host.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TIMESPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d{1,7})?)?")
_PERCENT = re.compile(r"%([^%]+)%")
DEFAULT_TIMEOUT_SECONDS = 1800.0
"""The default of every plan but Consumption."""


class SettingsError(ValueError):
    """host.json or an app setting is not usable; the host stays up and says so."""


def parse_timespan(text: str) -> float:
    """Return the seconds of a .NET TimeSpan (``[d.]hh:mm[:ss[.fffffff]]``).

    Raises:
        SettingsError: The text is no TimeSpan.
    """
    match = _TIMESPAN.fullmatch(text.strip())
    if match is None or int(match[2]) > 23 or int(match[3]) > 59 or int(match[4] or 0) > 59:
        raise SettingsError(f"'{text}' is not a time span")
    seconds = int(match[1] or 0) * 86400 + int(match[2]) * 3600 + int(match[3]) * 60 + int(match[4] or 0)
    return seconds + float(match[5] or 0)


class AppSettings:
    """The app's settings; they are the environment of host and worker alike."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)
        self._folded = {key.casefold().replace(":", "__"): value for key, value in values.items()}

    @classmethod
    def load(cls, settings_file: Path | None, environment: Mapping[str, str] | None = None) -> AppSettings:
        """Merge the process environment with a file of the shape of local.settings.json.

        Raises:
            SettingsError: The file is not of that shape.
        """
        merged = dict(os.environ if environment is None else environment)
        if settings_file is not None:
            raw = json.loads(settings_file.read_text())
            values = raw.get("Values") if isinstance(raw, dict) else None
            if not isinstance(values, dict):
                raise SettingsError(f"{settings_file.name} has no object 'Values'")
            merged |= {key: _setting_text(value) for key, value in values.items()}
        merged.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
        merged.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
        return cls(merged)

    @property
    def values(self) -> dict[str, str]:
        """A copy of everything, for the worker's environment."""
        return dict(self._values)

    @property
    def development(self) -> bool:
        """True where the real host would run under the Core Tools."""
        return (self.get("AZURE_FUNCTIONS_ENVIRONMENT") or "").casefold() == "development"

    def get(self, name: str) -> str | None:
        """Return a setting; names are compared without case and ``:`` equals ``__``."""
        return self._folded.get(name.casefold().replace(":", "__"))

    def resolve(self, text: str) -> str:
        """Replace every ``%NAME%`` by that setting.

        Raises:
            SettingsError: A named setting does not exist.
        """

        def setting(match: re.Match[str]) -> str:
            value = self.get(match[1])
            if value is None:
                raise SettingsError(f"'%{match[1]}%' does not resolve to a value.")
            return value

        return _PERCENT.sub(setting, text)

    def is_disabled(self, function: str) -> bool:
        """Say whether ``AzureWebJobs.<function>.Disabled`` switches a function off."""
        for name in (f"AzureWebJobs.{function}.Disabled", f"AzureWebJobs_{function}_Disabled"):
            if (self.get(name) or "").casefold() in {"true", "1"}:
                return True
        return False


def _setting_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """``extensions.queues`` of host.json."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    visibility_seconds: float = 0.0
    """Delay before a failed message is seen again; it is not the lease."""
    max_dequeue_count: int = 5
    max_polling_seconds: float = 60.0
    base64: bool = True

    @classmethod
    def parse(cls, raw: Mapping[str, Any], *, development: bool, processors: int) -> QueueOptions:
        """Read the section; ``processors`` is what an absent newBatchThreshold is computed from.

        Raises:
            SettingsError: A value is outside the real host's limits.
        """
        batch_size = int(raw.get("batchSize", 16))
        threshold = int(raw.get("newBatchThreshold", batch_size // 2 * processors))
        max_dequeue_count = int(raw.get("maxDequeueCount", 5))
        polling = parse_timespan(raw["maxPollingInterval"]) if "maxPollingInterval" in raw else None
        encoding = str(raw.get("messageEncoding", "base64")).lower()
        if not 1 <= batch_size <= 32:
            raise SettingsError("extensions.queues.batchSize must be 1 to 32")
        if threshold < 0:
            raise SettingsError("extensions.queues.newBatchThreshold must not be negative")
        if max_dequeue_count < 1:
            raise SettingsError("extensions.queues.maxDequeueCount must be at least 1")
        if polling is not None and polling < 0.1:
            raise SettingsError("extensions.queues.maxPollingInterval must be at least 00:00:00.100")
        if encoding not in {"base64", "none"}:
            raise SettingsError("extensions.queues.messageEncoding must be base64 or none")
        default_polling = 2.0 if development else 60.0
        return cls(
            batch_size=batch_size,
            new_batch_threshold=threshold,
            visibility_seconds=parse_timespan(raw.get("visibilityTimeout", "00:00:00")),
            max_dequeue_count=max_dequeue_count,
            max_polling_seconds=default_polling if polling is None else polling,
            base64=encoding == "base64",
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """What this host reads of host.json."""

    queues: QueueOptions
    route_prefix: str = "api"
    timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS
    """None is without limit."""

    @classmethod
    def load(cls, app_folder: Path, settings: AppSettings) -> HostOptions:
        """Read ``host.json`` of the app.

        Raises:
            SettingsError: It is missing, not JSON, of another version or out of limits.
        """
        try:
            raw = json.loads((app_folder / "host.json").read_text())
        except (OSError, ValueError) as error:
            raise SettingsError(f"host.json cannot be read: {error}") from error
        if not isinstance(raw, dict) or raw.get("version") != "2.0":
            raise SettingsError("host.json must have version '2.0'")
        extensions = raw.get("extensions") or {}
        timeout = raw.get("functionTimeout")
        seconds: float | None = DEFAULT_TIMEOUT_SECONDS
        if timeout is not None:
            unlimited = str(timeout).strip() in {"-1", "-00:00:01"}
            seconds = None if unlimited else parse_timespan(str(timeout))
            if seconds is not None and seconds < 1:
                raise SettingsError("functionTimeout must be at least one second")
        return cls(
            queues=QueueOptions.parse(
                extensions.get("queues") or {},
                development=settings.development,
                processors=1 if settings.get("WEBSITE_SKU") == "Dynamic" else os.cpu_count() or 1,
            ),
            route_prefix=str((extensions.get("http") or {}).get("routePrefix", "api")).strip("/"),
            timeout_seconds=seconds,
        )
