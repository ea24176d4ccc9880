"""The exchange and the read, decided by what the world holds."""

from __future__ import annotations

import base64
import json

from shared.errors import PermanentError
from shared.naming import fold_id
from tests.fakes.azure_world import AzureWorld


class InMemoryProver:
    """``ports.Prover`` for tests."""

    def __init__(self, world: AzureWorld) -> None:
        self._world = world

    async def exchange(self, *, client_id: str, assertion: str, scope: str) -> str:
        claims = json.loads(base64.urlsafe_b64decode(assertion))
        identity = self._world.identity_of(client_id)
        if identity is None:
            raise PermanentError("exchange-refused", "AADSTS700016")
        for credential in self._world.credentials[fold_id(identity.resource_id)].values():
            same = (credential.issuer, credential.subject) == (claims["iss"], claims["sub"])
            if same and claims["aud"] in credential.audiences:
                return json.dumps({"principal": identity.principal_id, "scope": scope})
        raise PermanentError("exchange-refused", "AADSTS700213")

    async def read(self, url: str, *, token: str) -> int | None:
        if not url.startswith("https://"):
            raise PermanentError("proof-url-invalid", url)
        if url not in self._world.data_planes:
            return None
        principal = json.loads(token)["principal"]
        place = fold_id(self._world.data_planes[url])
        granted = [
            at
            for (at, _), found in self._world.assignments.items()
            if found.principal_id == principal and f"{place}/".startswith(f"{at}/")
        ]
        return 200 if granted else 403
