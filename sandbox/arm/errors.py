"""The error answers of Resource Manager and its providers, in their own shapes.

Gateway errors carry ``x-ms-failure-cause: gateway``; AKS answers without the ``error`` wrapper.
"""

from __future__ import annotations

from typing import Any

from sandbox.arm.ids import ResourceId


class ArmError(Exception):
    """A refusal: HTTP status, code, message and shape."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        gateway: bool = False,
        wrapped: bool = True,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.wrapped = wrapped
        self.headers = dict(headers or {})
        if gateway:
            self.headers["x-ms-failure-cause"] = "gateway"

    def body(self) -> dict[str, Any]:
        """The JSON body as the service in question writes it."""
        if self.wrapped:
            return {"error": {"code": self.code, "message": self.message}}
        return {"code": self.code, "details": None, "message": self.message, "subcode": ""}


def resource_not_found(target: ResourceId) -> ArmError:
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{target.gateway_name}' under resource group '{target.group or '<null>'}' was not "
        "found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
        gateway=True,
    )


def group_not_found(group: str) -> ArmError:
    return ArmError(
        404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.", gateway=True
    )


def parent_not_found(verb: str, target: ResourceId, parent: str) -> ArmError:
    return ArmError(
        404,
        "ParentResourceNotFound",
        f"Failed to perform '{verb}' on resource(s) of type '{'/'.join(target.types)}', because the parent "
        f"resource '{parent}' could not be found.",
        gateway=True,
    )


def authorization_failed(caller_app: str, caller: str, action: str, scope: str) -> ArmError:
    return ArmError(
        403,
        "AuthorizationFailed",
        f"The client '{caller_app}' with object id '{caller}' does not have authorization to perform action "
        f"'{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please "
        "refresh your credentials.",
        gateway=True,
    )


def scope_locked(target: str, operation: str, lock_scopes: list[str]) -> ArmError:
    listed = ",".join(lock_scopes)
    return ArmError(
        409,
        "ScopeLocked",
        f"The scope '{target}' cannot perform {operation} operation because following scope(s) are locked: "
        f"'{listed}'. Please remove the lock and try again.",
        gateway=True,
    )


def bad_request(code: str, message: str) -> ArmError:
    return ArmError(400, code, message)


def unauthenticated(tenant: str, code: str, message: str) -> ArmError:
    challenge = (
        f'Bearer authorization_uri="https://login.windows.net/{tenant}", '
        f'error="invalid_token", error_description="{message}"'
    )
    return ArmError(401, code, message, gateway=True, headers={"WWW-Authenticate": challenge})
