"""Where it is told how long things took: spans of traces, and metrics.

Every operation is one trace, and so is every sweep: a trace's ids are computed from the operation's or the
sweep's own id (``naming.trace_of``), so nothing is kept or carried for it. Nothing here waits or fails.
Fields are ids, codes, counts and names; never tokens, secrets, queries of URLs or bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

type Fields = Mapping[str, str | int | float]


class Span(Protocol):
    """A span that has not ended."""

    def note(self, fields: Fields) -> None:
        """Add fields; empty text is left out."""
        ...

    def fail(self, code: str) -> None:
        """Mark it as failed."""
        ...


class Telemetry(Protocol):
    """Spans and metrics."""

    def span(
        self,
        name: str,
        *,
        of: str = "",
        caller: str = "",
        outward: bool = False,
        fields: Fields | None = None,
    ) -> AbstractContextManager[Span]:
        """A span that ends with the block; an exception other than a wait marks it as failed, with its code.

        Args:
            name: one of few; what varies is a field.
            of: id of the operation or sweep whose trace it belongs to; empty: it is part of the present span.
            caller: W3C ``traceparent`` of whoever asked for it, to which the span then points; may be empty.
            outward: a call to another service.
            fields: what is known at its beginning.
        """
        ...

    def whole(
        self, name: str, *, of: str, began_at: datetime, ended_at: datetime, code: str, fields: Fields
    ) -> None:
        """Tell the first span of a trace, which all others are part of, once it is over.

        Args:
            name: one of few.
            of: id of the operation.
            began_at: aware, as the state store has it.
            ended_at: the same.
            code: why it failed, empty if it did not.
            fields: what is known.
        """
        ...

    def measure(self, metric: str, value: float = 1.0, **attributes: str) -> None:
        """Add to a counter, or record a value: ``shared/metrics.py`` has each metric with its attributes."""
        ...


class _SilentSpan:
    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def note(self, fields: Fields) -> None:
        pass

    def fail(self, code: str) -> None:
        pass


_SILENT_SPAN = _SilentSpan()


class _Silence:
    def span(
        self,
        name: str,
        *,
        of: str = "",
        caller: str = "",
        outward: bool = False,
        fields: Fields | None = None,
    ) -> AbstractContextManager[Span]:
        del name, of, caller, outward, fields
        return _SILENT_SPAN

    def whole(
        self, name: str, *, of: str, began_at: datetime, ended_at: datetime, code: str, fields: Fields
    ) -> None:
        pass

    def measure(self, metric: str, value: float = 1.0, **attributes: str) -> None:
        pass


SILENCE: Telemetry = _Silence()
"""For an app that exports nothing: it imports nothing, keeps nothing and tells nobody."""
