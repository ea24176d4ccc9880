"""The application: one catch-all route, since Resource Manager's paths are data, not routes."""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from sandbox.arm.authentication import Authentication
from sandbox.arm.call import Answer, Call
from sandbox.arm.clusters import ManagedClusters
from sandbox.arm.control import Control
from sandbox.arm.credentials import Credentials
from sandbox.arm.data_grants import CosmosRoleAssignments, RedisAccessPolicyAssignments
from sandbox.arm.database_servers import target_of
from sandbox.arm.errors import ArmError, bad_request
from sandbox.arm.events import Occurrence
from sandbox.arm.groups import Groups
from sandbox.arm.identities import Identities
from sandbox.arm.ids import ResourceId, parse_id
from sandbox.arm.kubernetes import Clusters
from sandbox.arm.linkers import Linkers
from sandbox.arm.operations import Operation
from sandbox.arm.provider import ResourceType
from sandbox.arm.registry import Registry
from sandbox.arm.role_assignments import RoleAssignments
from sandbox.arm.role_definitions import Permissions, RoleDefinitions
from sandbox.arm.router import Router
from sandbox.arm.seed import seed
from sandbox.arm.service_connector import ServiceConnector
from sandbox.arm.target_parts import BlobContainers, TargetParts
from sandbox.arm.target_shapes import target_shapes
from sandbox.arm.targets import DeletedVaults, StorageAccounts, StorageServices, Vaults
from sandbox.arm.world import World, make_world
from sandbox.server import FRAME
from sandbox.topology import Topology

WORLD = web.AppKey("world", World)
EVENT_VERBS = {"PUT": "Write", "PATCH": "Write", "DELETE": "Delete", "POST": "Action"}
UNPUBLISHED = frozenset({401, 403, 429})
"""Refusals before the resource is reached; nothing in the activity log says they were tried."""


def make_app(topology: Topology) -> web.Application:
    """Make the emulator for one sandbox; its world comes back from ``state_dir``."""
    world = make_world(topology)
    kubernetes = Clusters(world)
    registry = Registry(world)
    groups, identities = Groups(world, registry), Identities(world)
    linkers, storage = Linkers(world, ServiceConnector(world, kubernetes)), StorageAccounts(world)
    providers: list[ResourceType] = [
        groups,
        identities,
        linkers,
        storage,
        Credentials(world),
        RoleAssignments(world),
        RoleDefinitions(world),
        CosmosRoleAssignments(world),
        RedisAccessPolicyAssignments(world),
        Permissions(world),
        ManagedClusters(world, registry, kubernetes),
        Vaults(world),
        DeletedVaults(world),
        *(target_of(world, shape) for shape in target_shapes()),
        *(TargetParts(world, type_name) for type_name in TargetParts.CODES),
        BlobContainers(world),
        *(
            StorageServices(world, f"Microsoft.Storage/storageAccounts/{service}Services")
            for service in ("blob", "queue", "table", "file")
        ),
    ]
    for provider in providers:
        registry.add(provider)
    for type_name in ("Microsoft.Authorization/locks", "Microsoft.Resources/tags"):
        registry.of(type_name)
    seed(world, groups, identities)
    world.operations.on_end = lambda operation: _publish_end(world, operation)
    app = web.Application(client_max_size=4 * 1024 * 1024)
    app[WORLD] = world
    Control(world).add_routes(app)
    gateway = _Gateway(world, Router(world, registry, groups, linkers, storage))
    app.router.add_route("*", "/{path:.*}", gateway.handle)
    app.cleanup_ctx.append(gateway.run)
    return app


class _Gateway:
    """Everything around a call: token, limits, headers, events."""

    def __init__(self, world: World, router: Router) -> None:
        self._world = world
        self._router = router
        self._authentication: Authentication | None = None

    async def run(self, app: web.Application) -> AsyncIterator[None]:
        """Open what needs a running loop, and close it with a last snapshot."""
        del app
        tls = ssl.create_default_context(cafile=self._world.topology.ca_file)
        connector = aiohttp.TCPConnector(ssl=tls)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            self._world.session = session
            self._authentication = Authentication(self._world.topology, session)
            self._world.operations.resume()
            yield
            await self._world.operations.stop()
            await self._world.events.stop()
            self._world.store.save()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer any path that is not the sandbox's own."""
        given = request.headers
        headers = {
            "x-ms-request-id": str(uuid.uuid4()),
            "x-ms-correlation-request-id": given.get("x-ms-correlation-request-id", "") or str(uuid.uuid4()),
        }
        headers["x-ms-routing-request-id"] = f"LOCAL:{headers['x-ms-request-id']}"
        if "x-ms-client-request-id" in given:
            headers["x-ms-client-request-id"] = given["x-ms-client-request-id"]
        call: Call | None = None
        try:
            call = await self._call(request, headers)
            if call.id.text != "/":
                headers |= self._world.throttle.admit(request.method, call.id, call.caller)
            answer = await self._router.answer(call)
        except ArmError as refused:
            answer = Answer(refused.status, refused.body(), refused.headers)
        if call is not None and not answer.accepted:
            self._publish(call, answer)
        headers |= answer.headers
        text = "" if request.method == "HEAD" else answer.text()
        if text:
            headers.setdefault("Content-Type", "application/json; charset=utf-8")
        body = text.encode() if text else None
        return web.Response(status=answer.status, body=body, headers=headers)

    async def _call(self, request: web.Request, headers: dict[str, str]) -> Call:
        if self._authentication is None:
            raise RuntimeError("the emulator has not started")
        claims = await self._authentication.caller(request.headers.get("Authorization", ""))
        request["caller"] = claims["oid"]
        if not request.query.get("api-version"):
            raise bad_request(
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        target, action = _split_action(request.method, request.path)
        return Call(
            method=request.method,
            id=target,
            action=action,
            body=await _body(request),
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            caller=claims["oid"],
            caller_app=claims.get("appid", ""),
            started=asyncio.get_running_loop().time() - _injected_seconds(request),
            correlation_id=headers["x-ms-correlation-request-id"],
            url=f"{self._world.topology.arm_url}{target.text}",
        )

    def _publish(self, call: Call, answer: Answer) -> None:
        verb = EVENT_VERBS.get(call.method)
        if verb is None or answer.status in UNPUBLISHED or not (call.id.namespace or call.id.group):
            return
        self._world.events.publish(
            Occurrence(
                verb=verb,
                outcome="Success" if answer.status < 400 else "Failure",
                resource_id=call.id.text,
                operation_name=_operation_name(self._router.action(call)),
                caller=call.caller,
                correlation_id=call.correlation_id,
                method=call.method,
                url=call.url,
            ),
        )


def _operation_name(action: str) -> str:
    """A group's delete is spelled in lower case in Azure's events, its write is not."""
    if action == "Microsoft.Resources/subscriptions/resourceGroups/delete":
        return "Microsoft.Resources/subscriptions/resourcegroups/delete"
    return action


def _publish_end(world: World, operation: Operation) -> None:
    event: dict[str, Any] | None = operation["payload"].get("event")
    if event is not None:
        outcome = "Success" if operation["status"] == "Succeeded" else "Failure"
        world.events.publish(Occurrence(outcome=outcome, **event))


def _split_action(method: str, path: str) -> tuple[ResourceId, str]:
    target = parse_id(path)
    registers = not target.names and [one.lower() for one in target.types] in (["register"], ["unregister"])
    if method == "POST" and target.is_collection and (target.names or registers):
        resource, _, action = target.text.rpartition("/")
        return parse_id(resource), action
    if method == "POST" and not target.namespace and target.text.count("/") > 1:
        resource, _, action = target.text.rpartition("/")
        return parse_id(resource), action
    return target, ("action" if method == "POST" else "")


async def _body(request: web.Request) -> dict[str, Any]:
    text = await request.text()
    if not text.strip():
        return {}
    try:
        parsed = json.loads(text)
    except ValueError as error:
        message = f"The request content was invalid and could not be deserialized: '{error}'."
        raise bad_request("InvalidRequestContent", message) from error
    if not isinstance(parsed, dict):
        raise bad_request("InvalidRequestContent", "The request content must be an object.")
    return parsed


def _injected_seconds(request: web.Request) -> float:
    """Latency the frame added before this handler: the request was under way for that long."""
    frame = request.app.get(FRAME)
    if frame is None:
        return 0.0
    for rule in frame.latency:
        if rule.matches(request.method, request.path_qs):
            return rule.seconds
    return 0.0
