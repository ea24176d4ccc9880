"""What outlives a host about a timer: its schedule status and the lock of the host that runs it.

On the platform both are blobs of the app's storage account (``azure-webjobs-hosts``). Here they
are files of the sandbox's state folder: a JSON file, and a lock that the system frees when the
process that holds it ends.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import fcntl
import json
import os
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TimerStatus:
    """The platform's ``{Last, Next, LastUpdated}``; ``last`` is None before the first run."""

    last: dt.datetime | None
    next: dt.datetime
    last_updated: dt.datetime

    def to_wire(self) -> dict[str, str]:
        """Return the form that functions see."""
        last = self.last.isoformat() if self.last is not None else "0001-01-01T00:00:00+00:00"
        return {"Last": last, "Next": self.next.isoformat(), "LastUpdated": self.last_updated.isoformat()}


class TimerStatusFile:
    """The status of one timer function, shared by all hosts of an app."""

    def __init__(self, folder: Path, function: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{function}.status.json"

    def read(self) -> TimerStatus | None:
        """Return the recorded status, or None if there is none that can be read."""
        try:
            raw = json.loads(self._path.read_text())
            last = dt.datetime.fromisoformat(raw["Last"])
            return TimerStatus(
                last=None if last.year == 1 else last,
                next=dt.datetime.fromisoformat(raw["Next"]),
                last_updated=dt.datetime.fromisoformat(raw["LastUpdated"]),
            )
        except (OSError, ValueError, KeyError):
            return None

    def write(self, status: TimerStatus) -> None:
        """Record a status; readers see the old or the new one, never a part."""
        draft = self._path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(status.to_wire()))
        draft.replace(self._path)


class TimerLock:
    """At most one host runs a timer; the others try again."""

    def __init__(self, folder: Path, function: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{function}.lock"
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Try to become the host that runs the timer."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let another host take over."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
