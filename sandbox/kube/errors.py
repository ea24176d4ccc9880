"""Failures as a Kubernetes API server words them: a Status object with reason and details.

Clients branch on code, reason and details; the messages follow the server's for people.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from sandbox.kube.resources import Object, Resource


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """One complaint about one field."""

    reason: str
    message: str
    field: str

    @classmethod
    def required(cls, field: str, detail: str = "") -> Cause:
        """A field that has to be there."""
        return cls("FieldValueRequired", "Required value" + (f": {detail}" if detail else ""), field)

    @classmethod
    def invalid(cls, field: str, value: object, detail: str) -> Cause:
        """A value that breaks a rule."""
        return cls("FieldValueInvalid", f'Invalid value: "{value}": {detail}', field)

    @classmethod
    def forbidden(cls, field: str, detail: str) -> Cause:
        """A field that must not be set or changed."""
        return cls("FieldValueForbidden", f"Forbidden: {detail}", field)

    @classmethod
    def too_long(cls, field: str, limit: int) -> Cause:
        """A value over a limit of bytes."""
        return cls("FieldValueTooLong", f"Too long: must have at most {limit} bytes", field)


class ApiError(Exception):
    """A refused request.

    Args:
        code: HTTP status.
        reason: The machine-readable reason of the Status.
        message: For people.
        details: The Status's details, left out when None.
        metadata: The Status's list metadata; carries ``continue`` in an Expired answer.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata or {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
        if details is not None:
            self.status["details"] = details


def _details(resource: Resource, name: str, **more: object) -> dict[str, Any]:
    group = {"group": resource.group} if resource.group else {}
    return {"name": name, **group, "kind": resource.plural, **more}


def not_found(resource: Resource, name: str) -> ApiError:
    """404: no such object."""
    message = f'{resource.qualified} "{name}" not found'
    return ApiError(404, "NotFound", message, details=_details(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    """409: create of a name that is taken."""
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details=_details(resource, name))


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    """409: a stale resourceVersion or a failed precondition."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, details=_details(resource, name))


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def apply_conflict(fields: list[tuple[str, str]]) -> ApiError:
    """409 of server-side apply.

    Args:
        fields: Pairs of other manager's description and dotted field.
    """
    plural = "s" if len(fields) > 1 else ""
    listed = ", ".join(f"conflict with {manager}: {field}" for manager, field in fields)
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": field}
        for manager, field in fields
    ]
    message = f"Apply failed with {len(fields)} conflict{plural}: {listed}"
    return ApiError(409, "Conflict", message, details={"causes": causes})


def invalid(kind: str, group: str, name: str, causes: list[Cause]) -> ApiError:
    """422: the object breaks rules of its kind."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details: dict[str, Any] = {
        "name": name,
        **({"group": group} if group else {}),
        "kind": kind,
        "causes": [dataclasses.asdict(cause) for cause in causes],
    }
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {listed}', details=details)


def bad_request(message: str) -> ApiError:
    """400: the request itself cannot be understood."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401: a credential that proves nothing."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(resource: Resource, name: str, why: str, causes: list[Cause] | None = None) -> ApiError:
    """403 for an action on an object."""
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    more = {"causes": [dataclasses.asdict(cause) for cause in causes]} if causes else {}
    details = _details(resource, name, **more)
    if not name:
        del details["name"]
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details=details)


def unsupported_media_type(accepted: tuple[str, ...]) -> ApiError:
    """415: a body in a format that is not spoken here."""
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(
        accepted
    )
    return ApiError(415, "UnsupportedMediaType", message)


def not_acceptable() -> ApiError:
    """406: the client wants a format that is not spoken here."""
    return ApiError(406, "NotAcceptable", "only the following media types are accepted: application/json")


def method_not_allowed() -> ApiError:
    """405: known path, wrong method."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details={})


def expired(message: str, continue_token: str = "") -> ApiError:
    """410: a version that is no longer kept; ``continue_token`` lets a list go on, inconsistently."""
    metadata = {"continue": continue_token} if continue_token else None
    return ApiError(410, "Expired", message, metadata=metadata)
