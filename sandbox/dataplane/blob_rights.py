"""Which right each blob operation needs.

Source: "Authorize with Microsoft Entra ID", the permissions table of the Blob service REST
reference. Operations on containers are *actions*, operations on blobs are *data actions*.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

BLOB_SERVICES = "Microsoft.Storage/storageAccounts/blobServices"
CONTAINERS = f"{BLOB_SERVICES}/containers"
BLOBS = f"{CONTAINERS}/blobs"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One permission, and where it is looked for; exactly one of the first two is set."""

    action: str = ""
    data_action: str = ""
    container: str = ""
    """Container whose scope the check is made at; empty for the account."""


def right_for(method: str, path: str, query: Mapping[str, str]) -> Right | None:
    """Find the right an operation needs.

    Args:
        method: HTTP method.
        path: Path below the account, starting with a slash.
        query: Query parameters.

    Returns:
        The right, or ``None`` for an operation that no Entra token may ask for.
    """
    container, _, blob = path.strip("/").partition("/")
    if not container:
        return _service_right(method, query)
    if query.get("restype") == "container":
        return _container_right(method, container, query)
    return _blob_right(method, container if blob else "$root", query)


def _service_right(method: str, query: Mapping[str, str]) -> Right | None:
    component, kind = query.get("comp", ""), query.get("restype", "")
    if component == "list" and method == "GET":
        return Right(action=f"{CONTAINERS}/read")
    if component == "blobs" and method == "GET":
        return Right(data_action=f"{BLOBS}/filter/action")
    if kind == "account":
        return Right(action=f"{BLOB_SERVICES}/getInfo/action")
    if kind == "service" and component == "userdelegationkey":
        return Right(action=f"{BLOB_SERVICES}/generateUserDelegationKey/action")
    if kind == "service" and component in {"properties", "stats"}:
        return Right(action=f"{BLOB_SERVICES}/{'write' if method == 'PUT' else 'read'}")
    return None


def _container_right(method: str, container: str, query: Mapping[str, str]) -> Right | None:
    component = query.get("comp", "")
    if component == "list" and method == "GET":
        return Right(data_action=f"{BLOBS}/read", container=container)
    if component == "acl":
        verb = "getAcl" if method in {"GET", "HEAD"} else "setAcl"
        return Right(action=f"{CONTAINERS}/{verb}/action", container=container)
    verbs = {"GET": "read", "HEAD": "read", "PUT": "write", "DELETE": "delete"}
    verb = verbs.get(method, "")
    return Right(action=f"{CONTAINERS}/{verb}", container=container) if verb else None


def _blob_right(method: str, container: str, query: Mapping[str, str]) -> Right | None:
    if query.get("comp") == "tags":
        verb = "read" if method == "GET" else "write"
        return Right(data_action=f"{BLOBS}/tags/{verb}", container=container)
    verbs = {"GET": "read", "HEAD": "read", "PUT": "write", "DELETE": "delete"}
    verb = verbs.get(method, "")
    return Right(data_action=f"{BLOBS}/{verb}", container=container) if verb else None
