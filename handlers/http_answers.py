"""HTTP answers: JSON, problem+json (RFC 9457), and the mapping of error codes to statuses."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Concatenate

import azure.functions as func

from shared.errors import MooringError, PermanentError, RefusedError
from shared.logs import bind
from shared.records import RequestRecord
from shared.services import Services
from shared.wiring import Wiring

RETRY_AFTER_SECONDS = 2
_FORBIDDEN = {"policy-denied", "namespace-protected", "subscription-not-listed", "identity-forbidden"}
_CONFLICT = {
    "name-collision",
    "body-differs",
    "cannot-change",
    "linker-holds-name",
    "observed-connection",
    "adopted-connection",
    "not-repairable",
    "linker-not-ready",
    "linker-incomplete",
    "operation-under-way",
    "request-id-reused",
    "sweep-under-way",
    "dead-letters-off",
    "not-restorable",
    "orphan-changed",
    "orphan-owned",
    "orphan-protected",
}
_STATUS: Mapping[str, HTTPStatus] = {
    "not-found": HTTPStatus.NOT_FOUND,
    "linker-not-found": HTTPStatus.NOT_FOUND,
    "orphan-gone": HTTPStatus.GONE,
    "message-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "policy-unreadable": HTTPStatus.SERVICE_UNAVAILABLE,
    **dict.fromkeys(_FORBIDDEN, HTTPStatus.FORBIDDEN),
    **dict.fromkeys(_CONFLICT, HTTPStatus.CONFLICT),
}


def answer(
    body: Any, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """A JSON answer."""
    return func.HttpResponse(
        json.dumps(body, ensure_ascii=False),
        status_code=int(status),
        headers={"Cache-Control": "no-store", **(headers or {})},
        mimetype="application/json",
    )


def problem(
    code: str,
    detail: str,
    *,
    status: int,
    **more: str | None,
) -> func.HttpResponse:
    """A problem+json answer; ``code`` is the stable part."""
    body = {
        "type": f"urn:mooring:error:{code}",
        "title": code.replace("-", " "),
        "status": int(status),
        "code": code,
        "detail": detail,
        **{name: value for name, value in more.items() if value},
    }
    return func.HttpResponse(
        json.dumps(body, ensure_ascii=False),
        status_code=int(status),
        headers={"Cache-Control": "no-store"},
        mimetype="application/problem+json",
    )


def refused(record: RequestRecord) -> func.HttpResponse:
    """The answer to a request that was refused on the record."""
    return problem(
        record.code,
        record.detail,
        status=_STATUS.get(record.code, HTTPStatus.BAD_REQUEST),
        field=record.field,
        remedy=record.remedy,
        operationId=record.operation_id,
    )


async def guarded[**P](
    wiring: Wiring,
    work: Callable[Concatenate[Services, P], Awaitable[func.HttpResponse]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> func.HttpResponse:
    """Do the work with the services; the core's errors, bad settings included, become problem+json."""
    try:
        return await work(await wiring.services(), *args, **kwargs)
    except RefusedError as error:
        status = _STATUS.get(error.code, HTTPStatus.BAD_REQUEST)
        return problem(error.code, error.detail, status=status, field=error.field, remedy=error.remedy)
    except PermanentError as error:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return problem(error.code, error.detail, status=status, remedy=error.remedy)
    except MooringError as error:
        bind(logging.getLogger("mooring")).warning("http-unavailable", extra={"code": error.code})
        response = problem(error.code, "try again", status=HTTPStatus.SERVICE_UNAVAILABLE)
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response


def base_url(request: func.HttpRequest) -> str:
    """Scheme, host and route prefix of the request, for links."""
    return str(request.url).partition("/api/")[0] + "/api"


def no_connection(connection_id: str, detail: str = "") -> func.HttpResponse:
    """The answer about a connection that is not there."""
    return problem(
        "not-found",
        detail or f"there is no connection {connection_id}",
        status=HTTPStatus.NOT_FOUND,
        remedy="GET /api/connections lists them",
    )
