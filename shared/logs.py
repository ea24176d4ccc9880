"""Structured log lines that always say which connection, operation, step and attempt they are about.

An event name is a constant (``step-ended``); everything that varies is a field. Each field goes into the
record's ``extra`` and, as ``key=value``, behind the event name: a plain console shows the message alone, and
so does Application Insights, because the Functions worker hands on nothing else of a record
(azure-functions-python-worker, ``Dispatcher.on_logging``). Nothing here reads the environment or knows Azure.

Fields are cut to 256 characters and to one line: much of them is other people's text. Tokens, secrets
and message bodies are never logged; callers pass ids, codes and counts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

FIELD_LIMIT = 256
"""Longest value of a field, in characters."""

_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""Attributes of every log record; ``logging`` refuses an ``extra`` of the same name."""

_NOISY = ("azure", "kubernetes", "aiohttp.access", "msal")


class BoundLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that puts its fields into every record."""

    def __init__(self, logger: logging.Logger, fields: Mapping[str, object]) -> None:
        super().__init__(logger, dict(fields))

    def with_fields(self, **fields: object) -> BoundLogger:
        """The same logger with more fields; equal names are replaced."""
        return BoundLogger(self.logger, {**(self.extra or {}), **fields})

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Merge the bound fields with the call's own ``extra`` and write both behind the event name."""
        fields = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        shown = {name: cut(value) for name, value in fields.items() if value not in (None, "")}
        suffix = "".join(f" {name}={value}" for name, value in shown.items())
        extra = {f"{name}_" if name in _RESERVED else name: value for name, value in shown.items()}
        # A call with arguments is formatted by logging itself, so a % in a field must survive that.
        return f"{msg}{suffix}", {**kwargs, "extra": extra}

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log one event; positional arguments are refused, since what varies belongs in a field.

        Raises:
            TypeError: positional arguments were given.
        """
        if args:
            raise TypeError("an event name is constant: pass values as extra={...}")
        super().log(level, msg, **kwargs)


def cut(value: object) -> object:
    """Shorten foreign text to 256 characters on one line; numbers and truth values stay as they are."""
    if isinstance(value, bool | int | float):
        return value
    text = " ".join(str(value).split())
    return text if len(text) <= FIELD_LIMIT else text[: FIELD_LIMIT - 1] + "…"


def bind(
    logger: logging.Logger,
    *,
    connection_id: str = "",
    operation_id: str = "",
    step: str = "",
    attempt: int | None = None,
) -> BoundLogger:
    """Bind a logger to what it will talk about.

    Args:
        logger: The module's logger.
        connection_id: Connection, empty if none is known yet.
        operation_id: Operation, likewise.
        step: Step of the operation's plan.
        attempt: Number of the attempt, from 1.

    Returns:
        A logger whose records carry those fields that are given.
    """
    fields = {"connection_id": connection_id, "operation_id": operation_id, "step": step, "attempt": attempt}
    return BoundLogger(logger, {name: value for name, value in fields.items() if value not in (None, "")})


def quieten() -> None:
    """Let the SDKs' loggers speak from WARNING on only.

    At INFO the Azure SDKs write two blocks of headers per request, which costs more in Application
    Insights than everything we say ourselves.
    """
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
