"""The emulator's own endpoints below ``/sandbox/``: for other emulators, tests and the demo."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sandbox.arm.delivery import PROBLEMS
from sandbox.arm.latencies import OPERATION_SECONDS, recorded_p50
from sandbox.arm.world import World
from sandbox.server import FRAME

PROFILES = ("none", "recorded-p50")


class Control:
    """Reads and sets what no Azure client could."""

    def __init__(self, world: World) -> None:
        self._world = world

    def add_routes(self, app: web.Application) -> None:
        """Register the endpoints."""
        router = app.router
        router.add_get("/sandbox/principals/{client_id}", self.principal)
        router.add_get("/sandbox/access", self.access)
        router.add_put("/sandbox/latency-profile", self.set_latency_profile)
        router.add_get("/sandbox/event-subscriptions", self.event_subscriptions)
        router.add_put("/sandbox/event-subscriptions", self.set_event_subscriptions)
        router.add_get("/sandbox/events", self.events)
        router.add_post("/sandbox/events", self.publish)
        router.add_get("/sandbox/event-deliveries", self.deliveries)
        router.add_get("/sandbox/event-faults", self.event_faults)
        router.add_put("/sandbox/event-faults", self.set_event_faults)
        router.add_get("/sandbox/throttle", self.throttle)
        router.add_put("/sandbox/throttle", self.set_throttle)
        router.add_get("/sandbox/directory", self.directory)
        router.add_put("/sandbox/directory", self.set_directory)
        router.add_put("/sandbox/operation-seconds", self.set_operation_seconds)
        router.add_put("/sandbox/page-size", self.set_page_size)
        router.add_get("/sandbox/resources", self.resources)

    async def principal(self, request: web.Request) -> web.Response:
        """``GET /sandbox/principals/{clientId}``: an identity with its credentials, or 404."""
        found = self._world.directory.describe(request.match_info["client_id"])
        return web.json_response(found) if found else web.json_response({}, status=404)

    async def access(self, request: web.Request) -> web.Response:
        """``GET /sandbox/access?principalId=&scope=&action=&dataAction=``."""
        query = request.query
        allowed = self._world.access.allows(
            query.get("principalId", ""),
            query.get("scope", ""),
            action=query.get("action", ""),
            data_action=query.get("dataAction", ""),
        )
        return web.json_response({"allowed": allowed})

    async def set_latency_profile(self, request: web.Request) -> web.Response:
        """``PUT /sandbox/latency-profile`` with ``{"profile": "none" | "recorded-p50"}``."""
        profile = (await request.json()).get("profile")
        if profile not in PROFILES:
            return web.json_response({"error": f"profile is one of {PROFILES}"}, status=400)
        recorded = profile == "recorded-p50"
        request.app[FRAME].latency[:] = recorded_p50() if recorded else []
        self._world.operations.seconds = dict(OPERATION_SECONDS) if recorded else {}
        self._world.operations.recorded_retry_after = recorded
        return web.json_response({"profile": profile})

    async def set_operation_seconds(self, request: web.Request) -> web.Response:
        """``PUT /sandbox/operation-seconds`` with ``{"linker-put": 1.5, ...}``; replaces all."""
        self._world.operations.seconds = {str(kind): float(n) for kind, n in (await request.json()).items()}
        return web.json_response(self._world.operations.seconds)

    async def set_page_size(self, request: web.Request) -> web.Response:
        """``PUT /sandbox/page-size`` with ``{"rows": n}``: rows of one page of a list."""
        self._world.page_size = max(1, int((await request.json())["rows"]))
        return web.json_response({"rows": self._world.page_size})

    async def event_subscriptions(self, request: web.Request) -> web.Response:
        """``GET /sandbox/event-subscriptions``."""
        del request
        return web.json_response(self._world.events.subscriptions)

    async def set_event_subscriptions(self, request: web.Request) -> web.Response:
        """``PUT /sandbox/event-subscriptions``: replaces all, after the handshake with each webhook."""
        try:
            await self._world.events.configure(await request.json())
        except (ValueError, KeyError, OSError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(self._world.events.subscriptions)

    async def events(self, request: web.Request) -> web.Response:
        """``GET /sandbox/events``: what was published, oldest first."""
        del request
        return web.json_response(list(self._world.events.published))

    async def publish(self, request: web.Request) -> web.Response:
        """``POST /sandbox/events``: publishes the posted event, or each of a posted list."""
        posted: Any = await request.json()
        events = posted if isinstance(posted, list) else [posted]
        return web.json_response({"matched": [self._world.events.publish_event(event) for event in events]})

    async def deliveries(self, request: web.Request) -> web.Response:
        """``GET /sandbox/event-deliveries``: tries and problems, per subscription and event."""
        del request
        return web.json_response(list(self._world.events.deliveries))

    async def event_faults(self, request: web.Request) -> web.Response:
        """``GET /sandbox/event-faults``."""
        del request
        return web.json_response(self._world.events.delivery.faults)

    async def set_event_faults(self, request: web.Request) -> web.Response:
        """``PUT /sandbox/event-faults`` with ``[{"subject": PATTERN, "problem": ...}]``; replaces all."""
        wanted = await request.json()
        faults = [{"subject": str(one["subject"]), "problem": str(one["problem"])} for one in wanted]
        if any(one["problem"] not in PROBLEMS for one in faults):
            return web.json_response({"error": f"problem is one of {PROBLEMS}"}, status=400)
        self._world.events.delivery.faults[:] = faults
        return await self.event_faults(request)

    async def throttle(self, request: web.Request) -> web.Response:
        """``GET /sandbox/throttle``."""
        del request
        throttle = self._world.throttle
        return web.json_response(
            {"arm": throttle.arm, "providers": throttle.providers, "scale": throttle.scale}
        )

    async def set_throttle(self, request: web.Request) -> web.Response:
        """``PUT /sandbox/throttle`` with any of ``enabled``, ``arm``, ``providers``, ``scale``."""
        wanted = await request.json()
        throttle = self._world.throttle
        if "enabled" in wanted:
            throttle.arm = throttle.providers = bool(wanted["enabled"])
        throttle.arm = bool(wanted.get("arm", throttle.arm))
        throttle.providers = bool(wanted.get("providers", throttle.providers))
        throttle.scale = float(wanted.get("scale", throttle.scale))
        throttle.reset()
        return await self.throttle(request)

    async def directory(self, request: web.Request) -> web.Response:
        """``GET /sandbox/directory``."""
        del request
        return web.json_response({"replication_seconds": self._world.directory.replication_seconds})

    async def set_directory(self, request: web.Request) -> web.Response:
        """``PUT /sandbox/directory`` with ``{"replication_seconds": n}``."""
        self._world.directory.replication_seconds = float((await request.json())["replication_seconds"])
        return await self.directory(request)

    async def resources(self, request: web.Request) -> web.Response:
        """``GET /sandbox/resources[?type=&name=]``: stored resources, for data planes and for tests."""
        type_name, name = request.query.get("type", ""), request.query.get("name", "").lower()
        store = self._world.store
        found = store.of_type(type_name) if type_name else iter(store.resources.values())
        return web.json_response([body for body in found if name in {"", str(body["name"]).lower()}])
