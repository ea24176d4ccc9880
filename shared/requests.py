"""The request message of queue and HTTP: what may be asked, checked before anything else happens.

``decode`` is the only way in. It is strict on purpose: a property that is silently ignored, or a type that
is silently converted, is a connection that differs from what its author wrote. The published JSON Schema
(``docs/reference/connection-request.schema.json``) is made from these models (``shared/request_schema.py``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, core_schema

from shared import naming
from shared.decoding import check_keys
from shared.decoding import decode as decode_json
from shared.errors import RefusedError
from shared.models import ConnectionId, ConnectionSpec
from shared.refusals import quoted, refusal

MESSAGE_BYTES = 64 * 1024
"""Azure's limit of a queue message."""
JSON_BYTES = 48 * 1024
"""What base64 leaves of it for the text, so that one limit holds for every sender."""
DEPTH = 20
SCHEMA_FILE = "docs/reference/connection-request.schema.json"

_CLUSTER = "Microsoft.ContainerService/managedClusters"
_IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
_LINKER = "/providers/microsoft.servicelinker/linkers/"


def _broken(code: str, rule: str) -> NoReturn:
    raise PydanticCustomError("rule", "{rule}", {"code": code, "rule": rule})


@dataclasses.dataclass(frozen=True)
class _Rule:
    """Marks a string property that must satisfy more than the schema's pattern can say."""

    code: str
    pattern: str
    fault: Callable[[str], str]
    """The broken rule, or an empty string."""

    def check(self, value: str) -> str:
        if fault := self.fault(value):
            _broken(self.code, fault)
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": self.pattern}


def _text(pattern: str, rule: str, code: str = "invalid-name") -> _Rule:
    """A string that matches a pattern as a whole."""
    whole = re.compile(pattern.removeprefix("^").removesuffix("$"))
    return _Rule(code, pattern, lambda value: "" if whole.fullmatch(value) else rule)


def _arm_id(kind: str = "") -> _Rule:
    """An ARM id, of exactly the top-level type ``kind`` if one is given."""
    pattern = "^/[^/]+/[0-9A-Fa-f-]{36}/[^/]+/[^/]+/[^/]+/[^/]+(/[^/]+/[^/]+)+$"
    return _Rule("invalid-id", pattern, lambda value: naming.id_fault(value, kind))


def _linker_fault(value: str) -> str:
    """The first rule that an id breaks as the id of a cluster's linker, or an empty string."""
    cluster_id, found, name = naming.fold_id(value).partition(_LINKER)
    bad = not found or not name or "/" in name or naming.id_fault(cluster_id, _CLUSTER)
    return naming.id_fault(value) or ("the id of a managed cluster's linker" if bad else "")


Name = Annotated[
    str,
    _text(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$",
        "letters, digits and ._-, at most 60, a letter or digit first",
    ),
]
Label = Annotated[
    str,
    _text(
        r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        "lower-case letters, digits and '-', at most 63, a letter or digit at both ends",
    ),
]
TypeName = Annotated[str, _text(r"^[a-z][a-z0-9-]{0,31}$", "a target type such as storage-blob")]
ClientType = Annotated[str, _text(r"^[A-Za-z][A-Za-z-]{0,31}$", "a client type such as none or python")]
Intent = Annotated[str, _text(r"^(read|write|send|receive|manage)$", "read, write, send, receive or manage")]
RequestId = Annotated[
    str, _text(r"^[A-Za-z0-9._:-]{1,128}$", "letters, digits and ._:-, at most 128", "invalid-id")
]
LinkerId = Annotated[str, _Rule("invalid-id", r"/[Ll][Ii][Nn][Kk][Ee][Rr][Ss]/[^/]+$", _linker_fault)]
HexId = Annotated[str, _text(r"^[0-9a-f]{24}$", "24 hexadecimal digits in lower case", "invalid-id")]


class _RequestModel(BaseModel):
    """Base of the wire's models: camelCase, nothing unknown, nothing converted."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, use_attribute_docstrings=True
    )


class Target(_RequestModel):
    """The Azure service resource to connect to."""

    type: TypeName
    """Name of a row of the target catalogue, such as storage-blob."""
    id: Annotated[str, _arm_id()]
    """ARM id of the target."""


class ConnectionKey(_RequestModel):
    """What makes a connection the same connection."""

    name: Name
    """Name of the connection; letters and digits alone distinguish it, without regard to case."""
    cluster_id: Annotated[str, _arm_id(_CLUSTER)]
    """ARM id of the AKS cluster."""
    namespace: Label
    """Kubernetes namespace of the workload; it must exist."""


class NewConnection(ConnectionKey):
    """A connection as asked for."""

    workload: Label = ""
    """Connections of one workload share identity and service account; by default the connection's name."""
    target: Target
    client_type: ClientType = "none"
    """Decides the names of the settings."""
    intent: Intent = ""
    """What the workload means to do; it gets the narrowest roles. By default Service Connector's roles."""
    identity_id: Annotated[str, _arm_id(_IDENTITY)] = ""
    """A user-assigned identity to use instead of one made for the workload; the policy must list it."""


class _Request(_RequestModel):
    request_id: RequestId = ""
    """The sender's key: the same key again is the same request. By default the queue message's id."""


class CreateRequest(_Request):
    """Make a connection, or bring an existing one to what is asked."""

    action: Literal["create"]
    connection: NewConnection


class _ExistingRequest(_Request):
    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["connectionId"]}, {"required": ["connection"]}]}
    )

    connection_id: HexId = ""
    """Id of the connection, as every answer gives it."""
    connection: ConnectionKey | None = None
    """The connection by name, instead of its id."""

    @model_validator(mode="after")
    def _name_one(self) -> Self:
        given = self.model_fields_set & {"connection_id", "connection"}
        if "connection" in given and self.connection is None:
            _broken("wrong-type", "connection is an object")
        if len(given) != 1:
            code = "unknown-property" if given else "missing-property"
            _broken(code, "give either connectionId or connection")
        return self


class DeleteRequest(_ExistingRequest):
    """Remove a connection and everything made for it alone."""

    action: Literal["delete"]


class ValidateRequest(_ExistingRequest):
    """Look at every part of a connection and change nothing."""

    action: Literal["validate"]


class RepairRequest(_ExistingRequest):
    """Make what was deleted by hand again, and put our own fields back where somebody edited them."""

    action: Literal["repair"]


class AdoptRequest(_Request):
    """Take over a connection that Service Connector made, as it is: nothing is changed."""

    action: Literal["adopt"]
    linker_id: LinkerId
    """ARM id of Service Connector's connection of the cluster."""


Request = CreateRequest | DeleteRequest | ValidateRequest | RepairRequest | AdoptRequest
_MODELS: Mapping[str, type[Request]] = MappingProxyType(
    {
        "create": CreateRequest,
        "delete": DeleteRequest,
        "validate": ValidateRequest,
        "repair": RepairRequest,
        "adopt": AdoptRequest,
    }
)


def decode(body: bytes | str) -> Request:
    """Turn a message or an HTTP body into a request.

    Args:
        body: JSON, or strict base64 of JSON.

    Raises:
        RefusedError: with the code, the field at fault and what to do about it. Values that look like
            a credential are never quoted.
    """
    value = decode_json(body, message_bytes=MESSAGE_BYTES, json_bytes=JSON_BYTES, depth=DEPTH)
    if not isinstance(value, dict):
        raise RefusedError("not-an-object", "a request is one JSON object", remedy=f"see {SCHEMA_FILE}")
    check_keys(value)
    action = value.get("action")
    if isinstance(action, str) and action in _MODELS:
        try:
            return _MODELS[action].model_validate(value)
        except ValidationError as error:
            raise refusal(error.errors(include_url=False), remedy=f"see {SCHEMA_FILE}") from None
    if isinstance(action, str):
        code, rule = "unknown-action", f"one of {', '.join(_MODELS)}{quoted(action)}"
    elif "action" in value:
        code, rule = "wrong-type", "a string is expected"
    else:
        code, rule = "missing-property", "this property is required"
    raise RefusedError(code, f"action: {rule}", field="action", remedy=f"see {SCHEMA_FILE}")


def to_spec(request: CreateRequest) -> ConnectionSpec:
    """The wanted connection as the core stores it."""
    asked = request.connection
    return ConnectionSpec(
        name=asked.name,
        cluster_id=asked.cluster_id,
        namespace=asked.namespace,
        workload=asked.workload or naming.workload_name(asked.name),
        target_type=asked.target.type,
        target_id=asked.target.id,
        client_type=asked.client_type,
        intent=asked.intent,
        identity_id=asked.identity_id,
    )


def connection_id_of(request: Request) -> ConnectionId:
    """The connection that a request is about, whichever way it names it; empty for an adoption.

    Only the linker itself says which namespace, and so which connection, it is.
    """
    if isinstance(request, AdoptRequest):
        return ConnectionId("")
    if not isinstance(request, CreateRequest) and request.connection_id:
        return ConnectionId(request.connection_id)
    key = request.connection
    assert key is not None  # noqa: S101 - the model's own rule: an id or a name
    return naming.connection_id(key.cluster_id, key.namespace, key.name)
