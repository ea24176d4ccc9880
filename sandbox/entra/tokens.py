"""Access tokens: the claims Azure services look at, under the issuer each audience expects."""

from __future__ import annotations

import time
import uuid
from typing import Any

from sandbox.entra.keys import SigningKey
from sandbox.topology import Topology

LIFETIME_SECONDS = 3600
AKS_SERVER_APPLICATION = "6dae42f8-4368-4678-94ff-3960e28e3630"


def audience_of(scope: str) -> str:
    """The audience of a v2 scope: ``/.default`` falls away, a slash before it stays."""
    return scope.removesuffix("/.default")


class Tokens:
    """Issues tokens for principals that were authenticated elsewhere."""

    def __init__(self, topology: Topology, key: SigningKey) -> None:
        self._topology = topology
        self._key = key

    def issuer(self, audience: str) -> str:
        """Storage emulators insist on the v1 issuer; a real API server must be able to discover its own."""
        tenant = self._topology.tenant_id
        if audience.lower().removeprefix("api://").rstrip("/") == AKS_SERVER_APPLICATION:
            return f"{self._topology.entra_url}/{tenant}/"
        return f"https://sts.windows.net/{tenant}/"

    def issue(
        self, audience: str, client_id: str, principal_id: str, *, resource_id: str = ""
    ) -> tuple[str, int]:
        """A token and the second since the epoch at which it expires."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "aud": audience,
            "iss": self.issuer(audience),
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME_SECONDS,
            "appid": client_id,
            "appidacr": "2",
            "idtyp": "app",
            "oid": principal_id,
            "sub": principal_id,
            "tid": self._topology.tenant_id,
            "uti": uuid.uuid4().hex[:22],
            "ver": "1.0",
        }
        if resource_id:
            claims["xms_mirid"] = resource_id
        return self._key.sign(claims), claims["exp"]
