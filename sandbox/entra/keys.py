"""The tenant's signing key: made once, kept in ``state_dir``, published as a JWKS."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any


class SigningKey:
    """An RSA key that is made or read at its first use, so that start-up stays short."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @functools.cached_property
    def _private(self) -> Any:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        if self._path.exists():
            return serialization.load_pem_private_key(self._path.read_bytes(), None)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        self._path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        return key

    @functools.cached_property
    def public_jwk(self) -> dict[str, Any]:
        """The public key as clients and API servers fetch it."""
        from jwt.algorithms import RSAAlgorithm

        numbers: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(self._private.public_key()))
        kid = hashlib.sha256(str(numbers["n"]).encode()).hexdigest()[:27]
        return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": numbers["n"], "e": numbers["e"]}

    def sign(self, claims: dict[str, Any]) -> str:
        """A signed token with these claims."""
        import jwt

        return jwt.encode(claims, self._private, algorithm="RS256", headers={"kid": self.public_jwk["kid"]})
