"""Federated identity credentials: one audience, unique issuer and subject, one write at a time."""

from __future__ import annotations

import asyncio
import re
import time

from sandbox.arm.call import Answer, Call
from sandbox.arm.directory import CREDENTIALS
from sandbox.arm.errors import ArmError, bad_request
from sandbox.arm.ids import id_key
from sandbox.arm.provider import ResourceType
from sandbox.arm.store import Body
from sandbox.arm.world import World

CREDENTIAL_LIMIT = 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,119}")
WRITE_SECONDS = 0.02
"""How long a write stays open at least, so that overlap shows without injected latency."""


class Credentials(ResourceType):
    """Writes below one identity must not overlap in time; Azure answers 409 when they do."""

    type = CREDENTIALS
    lower_case_group = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._open_until: dict[str, float] = {}

    def not_found(self, call: Call) -> ArmError:
        return ArmError(404, "NotFound", f"Resource '{self.canonical_id(call.id)}' was not found.")

    async def _write_alone(self, call: Call) -> None:
        """Hold this write open; refuse it if another one on the identity is or was open meanwhile.

        Raises:
            ArmError: 409, the identity's id in lower case.
        """
        identity = id_key(call.id.parent)
        if self._open_until.get(identity, 0.0) > call.started:
            raise ArmError(
                409,
                "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity",
                "Too many Federated Identity Credentials are written concurrently for the managed identity "
                f"'{identity}'. Concurrent Federated Identity Credentials writes under the same managed "
                "identity are not supported.",
            )
        self._open_until[identity] = float("inf")
        try:
            await asyncio.sleep(WRITE_SECONDS)
        finally:
            self._open_until[identity] = asyncio.get_running_loop().time()

    async def put(self, call: Call) -> Answer:
        body = self._checked(call)
        await self._write_alone(call)
        self._check_unique(call, body)
        existing = self.store.get(call.id.text)
        self.keep(body, existing)
        self.store.note(body["id"])["written"] = time.time()
        return Answer(200, body) if existing else Answer(201, body, {"Location": body["id"]})

    def _checked(self, call: Call) -> Body:
        name = call.id.name
        if not NAME.fullmatch(name):
            raise bad_request(
                "BadRequest",
                f"Federated identity credential name '{name}' is invalid. It must be 3-120 "
                "characters of letters, "
                "digits, dash and underscore, and start with a letter or digit.",
            )
        properties = call.properties
        issuer, subject, audiences = (properties.get(key) for key in ("issuer", "subject", "audiences"))
        if not issuer or not subject:
            raise bad_request("BadRequest", f"Federated identity credential '{name}' has empty properties.")
        if not isinstance(audiences, list) or len(audiences) != 1:
            raise bad_request(
                "BadRequest", f"Federated identity credential '{name}' must have exactly one audience."
            )
        return {
            "id": self.canonical_id(call.id),
            "name": name,
            "type": self.type,
            "properties": {"issuer": issuer, "subject": subject, "audiences": audiences},
        }

    def _check_unique(self, call: Call, body: Body) -> None:
        others = [
            other
            for other in self.store.of_type(self.type, call.id.parent)
            if id_key(other["id"]) != id_key(body["id"])
        ]
        pair = (body["properties"]["issuer"], body["properties"]["subject"])
        if any((other["properties"]["issuer"], other["properties"]["subject"]) == pair for other in others):
            raise bad_request(
                "BadRequest", "Issuer and subject combination already exists for this Managed Identity."
            )
        if len(others) >= CREDENTIAL_LIMIT:
            raise bad_request(
                "BadRequest",
                "Too many Federated Identity Credentials for this Managed Identity; at most "
                f"{CREDENTIAL_LIMIT}.",
            )

    async def delete(self, call: Call) -> Answer:
        if self.store.get(call.id.text) is None:
            return Answer(204)
        await self._write_alone(call)
        self.store.remove(call.id.text)
        return Answer(200)
