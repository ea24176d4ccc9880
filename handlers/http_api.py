"""HTTP: connections. Azure's asynchronous request-reply: 202, ``Location``, ``Retry-After``."""

import json
import uuid
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import azure.functions as func

from handlers import http_requests
from handlers.http_answers import (
    RETRY_AFTER_SECONDS,
    answer,
    base_url,
    guarded,
    no_connection,
    problem,
    refused,
)
from handlers.http_lists import LeftOut, after, last_of
from shared import changes, configuration, drift, manifest, naming, requests, views
from shared.models import Connection
from shared.records import RequestRecord
from shared.services import Services
from shared.wiring import Wiring

LIST_LIMIT = 1000


def blueprint(wiring: Wiring) -> func.Blueprint:
    """The connection resources."""
    part = func.Blueprint()

    @part.function_name("post_connection")
    @part.route("connections", methods=["POST"])
    async def post_connection(req: func.HttpRequest) -> func.HttpResponse:
        """Create a connection."""
        return await guarded(wiring, _receive, req, "create")

    @part.function_name("list_connections")
    @part.route("connections", methods=["GET"])
    async def list_connections(req: func.HttpRequest) -> func.HttpResponse:
        """List connections."""
        return await guarded(wiring, _list, req)

    @part.function_name("get_connection")
    @part.route("connections/{connectionId}", methods=["GET"])
    async def get_connection(req: func.HttpRequest) -> func.HttpResponse:
        """Read a connection."""
        return await guarded(wiring, _get, req)

    @part.function_name("delete_connection")
    @part.route("connections/{connectionId}", methods=["DELETE"])
    async def delete_connection(req: func.HttpRequest) -> func.HttpResponse:
        """Delete a connection."""
        return await guarded(wiring, _act, req, "delete")

    @part.function_name("update_connection")
    @part.route("connections/{connectionId}", methods=["PATCH"])
    async def update_connection(req: func.HttpRequest) -> func.HttpResponse:
        """Change some properties of a connection."""
        return await guarded(wiring, _update, req)

    @part.function_name("validate_connection")
    @part.route("connections/{connectionId}/validate", methods=["POST"])
    async def validate_connection(req: func.HttpRequest) -> func.HttpResponse:
        """Validate a connection."""
        return await guarded(wiring, _act, req, "validate")

    @part.function_name("repair_connection")
    @part.route("connections/{connectionId}/repair", methods=["POST"])
    async def repair_connection(req: func.HttpRequest) -> func.HttpResponse:
        """Repair a connection."""
        return await guarded(wiring, _act, req, "repair")

    @part.function_name("adopt_linker")
    @part.route("connections/adopt", methods=["POST"])
    async def adopt_linker(req: func.HttpRequest) -> func.HttpResponse:
        """Adopt a connection of Service Connector, named by its linker."""
        return await guarded(wiring, _receive, req, "adopt")

    @part.function_name("adopt_connection")
    @part.route("connections/{connectionId}/adopt", methods=["POST"])
    async def adopt_connection(req: func.HttpRequest) -> func.HttpResponse:
        """Adopt a connection of Service Connector that is observed."""
        return await guarded(wiring, _adopt, req)

    @part.function_name("get_manifest")
    @part.route("connections/{connectionId}/manifest", methods=["GET"])
    async def get_manifest(req: func.HttpRequest) -> func.HttpResponse:
        """The manifest snippet of a connection."""
        return await guarded(wiring, _manifest, req)

    return part


async def _receive(services: Services, req: func.HttpRequest, action: str) -> func.HttpResponse:
    """The body is the queue's message; ``action`` may be left out."""
    record = await services.intake.receive(
        http_requests.with_action(req.get_body(), action),
        message_id=_message_id(req),
        source="http",
        caller=_caller(req),
    )
    return _accepted(record, req)


async def _act(services: Services, req: func.HttpRequest, action: str) -> func.HttpResponse:
    connection_id = http_requests.connection_id(req)
    stored = await services.state.connection(connection_id)
    if stored is None:
        return no_connection(connection_id)
    if not (stored.value.state.live or stored.value.active):
        return no_connection(
            connection_id, f"the connection is {stored.value.state.value}: nothing of it is left"
        )
    return await _submit(services, req, {"action": action, "connectionId": connection_id})


async def _update(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    """The body has the properties that change, as a JSON merge patch (RFC 7396); the rest stays."""
    connection_id = http_requests.connection_id(req)
    stored = await services.state.connection(connection_id)
    if stored is None or not (stored.value.state.live or stored.value.active):
        return no_connection(connection_id)
    patch = http_requests.json_object(req.get_body())
    under_way = [await services.state.operation(one) for one in stored.value.active]
    ahead = [one.value for one in under_way if one is not None and not one.value.state.final]
    # A patch of what was would silently undo an update that waits still.
    present = changes.newest(stored.value, ahead)
    whole = http_requests.merged(requests.to_body(present), patch)
    body = {"action": "update", "connection": whole}
    request = requests.decode(json.dumps(body))
    if isinstance(request, requests.UpdateRequest) and requests.connection_id_of(request) != connection_id:
        wanted = requests.to_spec(request)
        changes.refuse_change(present, wanted, services.catalogue.find(wanted.target_type))
    return await _submit(services, req, body)


async def _adopt(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    connection_id = http_requests.connection_id(req)
    stored = await services.state.connection(connection_id)
    if stored is None:
        return no_connection(connection_id)
    if not stored.value.linker_id:
        detail = "Mooring made this connection itself"
        return problem("nothing-to-adopt", detail, status=HTTPStatus.CONFLICT)
    return await _submit(services, req, {"action": "adopt", "linkerId": stored.value.linker_id})


async def _submit(services: Services, req: func.HttpRequest, body: dict[str, Any]) -> func.HttpResponse:
    record = await services.intake.submit(
        requests.decode(json.dumps(body)),
        message_id=_message_id(req),
        source="http",
        caller=_caller(req),
    )
    return _accepted(record, req)


async def _get(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    connection_id = http_requests.connection_id(req)
    stored = await services.state.connection(connection_id)
    if stored is None:
        return no_connection(connection_id)
    intents = await services.state.intents(connection_id)
    parts = await services.sweeping.drifts.of(connection_id)
    seen = drift.shown(parts, generation=stored.value.generation)
    shown = views.connection(stored.value, intents, base_url=base_url(req))
    return answer({**shown, "drift": seen})


async def _list(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    drifts = await services.sweeping.drifts.all() if req.params.get("drift") == "true" else None
    left_out, last = LeftOut(), ""
    if drifts is None:
        page = left_out.note(await services.state.connections(limit=LIST_LIMIT, after=after(req)))
        found: list[Connection] = page
        looked_at, last = len(page) + len(page.unreadable), last_of(page)
    else:
        ids = sorted(drifts)[:LIST_LIMIT]
        stored = [await left_out.read(one, services.state.connection(one)) for one in ids]
        found, looked_at = [one.value for one in stored if one is not None], len(drifts)
    wanted = {name: req.params.get(name, "") for name in ("state", "namespace", "clusterId")}
    shown = [
        views.listed(connection, base_url=base_url(req))
        for connection in sorted(found, key=lambda one: one.created_at)
        if wanted["state"] in {"", connection.state.value}
        and wanted["namespace"] in {"", connection.spec.namespace}
        and (not wanted["clusterId"] or _same(wanted["clusterId"], connection.spec.cluster_id))
    ]
    if drifts is not None:
        seen = [
            one | {"drift": drift.shown(drifts[one["id"]], generation=one["generation"])} for one in shown
        ]
        shown = [one for one in seen if one["drift"]]
    truncated = looked_at >= LIST_LIMIT
    query = urlencode({**{name: value for name, value in wanted.items() if value}, "after": last})
    url = f"{base_url(req)}/connections?{query}" if truncated and last else None
    return answer({"connections": shown, "truncated": truncated, "next": url, **left_out.told()})


async def _manifest(services: Services, req: func.HttpRequest) -> func.HttpResponse:
    connection_id = http_requests.connection_id(req)
    stored = await services.state.connection(connection_id)
    intents = await services.state.intents(connection_id)
    account = intents.get("service_account")
    if stored is None:
        return no_connection(connection_id)
    if account is None and stored.value.spec.by_identity:
        return no_connection(connection_id, "the connection has no service account, or not yet")
    kind = req.params.get("kind", "")
    settings = (
        configuration.settings(stored.value, intents, services.catalogue) if kind == manifest.PATCH else ()
    )
    parts = manifest.Parts(
        service_account=str(account.planned["name"]) if account else "",
        settings=naming.settings_object(stored.value.spec)[1],
        settings_in=stored.value.spec.settings_in or "secret",
        namespace=stored.value.spec.namespace,
        workload=stored.value.spec.workload,
        keys=[one.name for one in settings],
        container=req.params.get("container") or manifest.CONTAINER,
    )
    text = manifest.snippet(kind, parts)
    return func.HttpResponse(text, mimetype="application/yaml", headers={"Cache-Control": "no-store"})


def _accepted(record: RequestRecord, req: func.HttpRequest) -> func.HttpResponse:
    if record.outcome == "rejected":
        return refused(record)
    body: dict[str, Any] = {
        "outcome": record.outcome,
        "connectionId": record.connection_id,
        "operationId": record.operation_id or None,
        **({"detail": record.detail} if record.detail else {}),
    }
    location = f"{base_url(req)}/operations/{record.operation_id}"
    if record.outcome in {"unchanged", "nothing-to-do"}:
        return answer(body, headers={"Location": location} if record.operation_id else None)
    headers = {"Location": location, "Retry-After": str(RETRY_AFTER_SECONDS)}
    return answer(body, status=HTTPStatus.ACCEPTED, headers=headers)


def _message_id(req: func.HttpRequest) -> str:
    """A caller that wants a repeat to be the same request sends ``Idempotency-Key`` or a ``requestId``."""
    key = req.headers.get("Idempotency-Key") or req.headers.get("x-ms-client-request-id")
    return f"http:{key or uuid.uuid4()}"


def _caller(req: func.HttpRequest) -> str:
    """The caller's own span (W3C Trace Context), to which ours will point."""
    return str(req.headers.get("traceparent") or "")


def _same(left: str, right: str) -> bool:
    return naming.fold_id(left) == naming.fold_id(right)
