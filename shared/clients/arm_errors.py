"""The classifier: what an SDK raised, and what was wanted, give one of our own errors or "absent".

Every adapter sends its calls through ``ask``. The rules stand in ``error_rules.py``; here is only how to
read status, code, message and ``Retry-After`` out of an exception. Never by message text: Azure rewords
its messages, so they serve people alone (the action in a 403 is quoted in the remedy, nothing hangs on it).
"""

from __future__ import annotations

import dataclasses
import email.utils
import json
import re
from collections.abc import AsyncIterable, Awaitable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shared.clients.error_rules import NO_ANSWER, RULES, STATUS_RULES, UNKNOWN, Effect, Intent, Rule, Service
from shared.errors import MooringError, NotYetError, Pace, PermanentError, StateConflictError, TransientError

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

THROTTLED_STATUS = 429
_ACTION = re.compile(r"perform action '([^']{1,120})'")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as the service told it."""

    service: Service
    status: int
    """HTTP status, 0 if there was no answer."""
    code: str
    """The service's own code, empty if it gave none."""
    message: str
    retry_after_seconds: float | None = None


async def ask[T](call: Awaitable[T], intent: Intent, *, service: Service = Service.ARM) -> T | None:
    """Await one SDK call.

    Args:
        call: The SDK's coroutine.
        intent: What is wanted of it.
        service: Whose codes to expect.

    Returns:
        The call's result, or ``None`` if the thing is definitely not there.

    Raises:
        TransientError: as the rules say; ``connection-failed`` if there was no answer.
        PermanentError: as the rules say.
        NotYetError: as the rules say.
    """
    from azure.core.exceptions import AzureError

    try:
        return await call
    except AzureError as error:
        outcome = judge(failure_of(error, service), intent)
        if outcome is None:
            return None
        raise outcome from error


async def ask_all[T](pages: AsyncIterable[T]) -> list[T] | None:
    """Read a list to its end.

    Returns:
        All items, or ``None`` if what was listed is definitely not there.

    Raises:
        TransientError: ``list-broken`` if a later page is missing: a list with a hole would show less than
            there is. Otherwise as ``ask``.
    """
    found: list[T] = []

    async def collect() -> list[T]:
        async for item in pages:
            found.append(item)  # noqa: PERF401 - what came before a fault is known after it
        return found

    listed = await ask(collect(), Intent.READ)
    if listed is None and found:
        raise TransientError("list-broken", "a page of the list is missing")
    return listed


def judge(failure: Failure, intent: Intent) -> MooringError | None:
    """Apply the rules.

    Returns:
        The error to raise, or ``None`` if the thing is definitely not there.
    """
    rule = _rule(failure, intent)
    wait = failure.retry_after_seconds
    detail = f"{failure.code or failure.status}: {failure.message}"
    if rule.effect is Effect.ABSENT:
        return None
    if rule.effect is Effect.CONFLICT:
        return StateConflictError(detail)
    if rule.effect is Effect.NOT_YET:
        return NotYetError(rule.code, detail, retry_after_seconds=wait)
    if rule.effect is Effect.PERMANENT:
        return PermanentError(rule.code, detail, remedy=_remedy(rule, failure))
    return TransientError(rule.code, detail, pace=rule.pace, retry_after_seconds=wait)


def failure_of(error: Exception, service: Service) -> Failure:
    """Read what an Azure SDK raised."""
    response: Any = getattr(error, "response", None)
    if response is None:
        return Failure(service=service, status=0, code="", message=f"{type(error).__name__}: {error}")
    code, message = body_of(response)
    header = str(response.headers.get("x-ms-error-code") or "")
    attribute = getattr(error, "error_code", None)
    own = str(getattr(attribute, "value", attribute) or "") if service is Service.STORAGE else ""
    return Failure(
        service=service,
        status=int(response.status_code or 0),
        code=own or code or header,
        message=message or str(getattr(error, "message", error)),
        retry_after_seconds=retry_after_seconds(response.headers),
    )


def body_of(response: Any) -> tuple[str, str]:
    """Code and message of an error body: ``{"error": {...}}``, the same unwrapped, or OData's."""
    try:
        body = json.loads(response.text())
    except (ValueError, UnicodeDecodeError, RuntimeError, AttributeError, TypeError):
        return "", ""
    if not isinstance(body, dict):
        return "", ""
    inner = body.get("error") or body.get("odata.error") or body
    if not isinstance(inner, dict):
        return str(inner), str(body.get("error_description") or "")
    message = inner.get("message")
    text = message.get("value") if isinstance(message, dict) else message
    return str(inner.get("code") or ""), str(text or "")


def retry_after_seconds(headers: Mapping[str, Any]) -> float | None:
    """Seconds of a ``Retry-After`` header (a number or an HTTP date), ``None`` without one."""
    lower = {str(name).lower(): str(value) for name, value in headers.items()}
    for name, factor in (("retry-after", 1.0), ("retry-after-ms", 0.001), ("x-ms-retry-after-ms", 0.001)):
        raw = lower.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d+)?", raw):
            return float(raw) * factor
        until = _date(raw) if name == "retry-after" else None
        if until is not None:
            return max(0.0, (until - datetime.now(UTC)).total_seconds())
    return None


def _date(raw: str) -> datetime | None:
    """An HTTP date, ``None`` if it is none. One without a zone is UTC, as every HTTP date should be.

    It is not converted to UTC: at either end of the calendar that has no result.
    """
    try:
        read = email.utils.parsedate_to_datetime(raw)
    except (ValueError, OverflowError):
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def busy(error: HttpResponseError, wait_seconds: float) -> TransientError:
    """The error for an answer that asks for more patience than a client's own retries have."""
    code = "throttled" if error.status_code == THROTTLED_STATUS else "service-busy"
    return TransientError(code, f"HTTP {error.status_code}", pace=Pace.SLOW, retry_after_seconds=wait_seconds)


def _rule(failure: Failure, intent: Intent) -> Rule:
    if failure.status == 0:
        return NO_ANSWER
    rules = RULES.get((failure.service, failure.code.lower()))
    if rules is not None:
        rule = rules[intent]
        if (
            rule.effect is not Effect.ABSENT
            or failure.status == HTTPStatus.NOT_FOUND
            or failure.service is Service.STORAGE
        ):
            return rule
    return STATUS_RULES.get(failure.status, UNKNOWN)


def _remedy(rule: Rule, failure: Failure) -> str:
    action = _ACTION.search(failure.message)
    return f"{rule.remedy} Missing action: {action.group(1)}" if action and rule.remedy else rule.remedy
