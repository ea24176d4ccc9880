"""Service-account tokens: the cluster's signing key, TokenRequest, the issuer's public documents.

Facts: TokenRequest of authentication.k8s.io/v1, projected service-account tokens, OpenID Connect
discovery as kube-apiserver serves it.
"""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.kube import errors
from sandbox.kube.clock import timestamp
from sandbox.kube.errors import Cause
from sandbox.kube.registry import Target
from sandbox.kube.resources import BY_NAME, Object
from sandbox.kube.store import Key, Store

CLUSTER_AUDIENCE = "https://kubernetes.default.svc"
MIN_SECONDS, DEFAULT_SECONDS, MAX_SECONDS = 600, 3600, 2**32
_NAME_PREFIX = "system:serviceaccount:"


def new_signing_key() -> str:
    """A new RSA key as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


class Issuer:
    """Signs and verifies the tokens of one cluster.

    Args:
        url: The issuer; ends with a slash, as AKS's do.
        signing_key: RSA private key, PEM.
        store: Where the accounts and the objects that tokens are bound to live.
    """

    def __init__(self, url: str, signing_key: str, store: Store) -> None:
        self.url = url
        self.audiences = [CLUSTER_AUDIENCE, url]
        self._store = store
        private = serialization.load_pem_private_key(signing_key.encode(), password=None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise TypeError("service-account tokens are signed with RSA keys")
        self._private = private
        self._public = private.public_key()
        der = self._public.public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
        self.key_id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()

    def metadata(self) -> Object:
        """The OpenID Connect discovery document."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def keys(self) -> Object:
        """The key set that verifies the tokens."""
        numbers = self._public.public_numbers()
        return {
            "keys": [
                {
                    "use": "sig",
                    "kty": "RSA",
                    "kid": self.key_id,
                    "alg": "RS256",
                    "n": _base64url(numbers.n),
                    "e": _base64url(numbers.e),
                },
            ],
        }

    def token_request(self, account: Object, body: Any) -> Object:
        """Answer POST .../serviceaccounts/NAME/token.

        Raises:
            ApiError: 400 for a body of another kind, 422 for a lifetime out of bounds, 404 or 409 for
                an object to bind to that is not there or has another uid.
        """
        if not isinstance(body, dict) or body.get("kind", "TokenRequest") != "TokenRequest":
            raise errors.bad_request("the body is no TokenRequest")
        spec = body.get("spec") or {}
        name, namespace = account["metadata"]["name"], account["metadata"]["namespace"]
        seconds = spec.get("expirationSeconds")
        seconds = DEFAULT_SECONDS if seconds is None else seconds
        cause = None
        if seconds < MIN_SECONDS:
            cause = Cause.invalid(
                "spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"
            )
        elif seconds > MAX_SECONDS:
            cause = Cause.invalid(
                "spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"
            )
        if cause:
            raise errors.invalid("TokenRequest", "authentication.k8s.io", name, [cause])
        audiences = spec.get("audiences") or self.audiences
        bound = self._bound(namespace, spec.get("boundObjectRef"))
        now = int(time.time())
        claims = {
            "aud": audiences,
            "exp": now + seconds,
            "iat": now,
            "iss": self.url,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": namespace,
                **bound,
                "serviceaccount": {"name": name, "uid": account["metadata"]["uid"]},
            },
            "nbf": now,
            "sub": f"{_NAME_PREFIX}{namespace}:{name}",
        }
        token = jwt.encode(claims, self._private, algorithm="RS256", headers={"kid": self.key_id})
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": timestamp()},
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": {"token": token, "expirationTimestamp": timestamp(seconds)},
        }

    def _bound(self, namespace: str, reference: dict[str, Any] | None) -> dict[str, Any]:
        if not reference:
            return {}
        resource = {"Pod": BY_NAME["pods"], "Secret": BY_NAME["secrets"]}.get(reference.get("kind", ""))
        if resource is None:
            raise errors.bad_request(f"cannot bind token to object of type {reference.get('kind')}")
        target = Target(resource, namespace, reference.get("name", ""))
        stored = self._store.get(target.key)
        if stored is None:
            raise errors.not_found(resource, target.name)
        uid = stored["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            why = (
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record"
            )
            raise errors.conflict(resource, target.name, why)
        return {resource.kind.lower(): {"name": target.name, "uid": uid}}

    def verified(self, token: str, audiences: list[str]) -> dict[str, Any] | None:
        """Claims of a living token of this cluster for one of the audiences, or None."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._public,
                algorithms=["RS256"],
                audience=audiences,
                issuer=self.url,
            )
        except jwt.InvalidTokenError:
            return None
        private = claims["kubernetes.io"]
        namespace, account = private["namespace"], private["serviceaccount"]
        living = [(Key("serviceaccounts", namespace, account["name"]), account["uid"])]
        living += [
            (Key(f"{kind}s", namespace, private[kind]["name"]), private[kind]["uid"])
            for kind in ("pod", "secret")
            if kind in private
        ]
        for key, uid in living:
            stored = self._store.get(key)
            if stored is None or stored["metadata"]["uid"] != uid:
                return None
        return claims


def _base64url(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
