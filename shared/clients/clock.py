"""The local clock behind the ``Clock`` port: for logs and total times, never for leases."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        """Aware UTC instant."""
        return datetime.now(UTC)
