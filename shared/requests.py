"""The request message of queue and HTTP: what may be asked, checked before anything else happens.

``decode`` is the only way in. It is strict on purpose: a property that is silently ignored, or a type that
is silently converted, is a connection that differs from what its author wrote. The published JSON Schema
(``docs/reference/connection-request.schema.json``) is made from these models (``shared/request_schema.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from shared import naming
from shared.catalogue import catalogue
from shared.decoding import check_keys
from shared.decoding import decode as decode_json
from shared.errors import RefusedError
from shared.models import ConnectionId
from shared.refusals import quoted, refusal
from shared.request_fields import (
    CLUSTER,
    IDENTITY,
    LIKE_CREDENTIAL,
    AuthType,
    ClientType,
    HarmlessKey,
    HarmlessValue,
    HexId,
    Intent,
    Label,
    LinkerId,
    Name,
    RequestId,
    RequestModel,
    SettingKey,
    SettingsIn,
    TypeName,
    arm_id,
    broken,
)
from shared.request_mounts import VaultObject, as_asked, by_file, mount_fault
from shared.spec import ConnectionSpec

MESSAGE_BYTES = 64 * 1024
"""Azure's limit of a queue message."""
JSON_BYTES = 48 * 1024
"""What base64 leaves of it for the text, so that one limit holds for every sender."""
DEPTH = 20
SETTINGS_LIMIT = 32
"""Most entries of a map of settings, so that a stored wish fits into a table's column with room to spare."""
SCHEMA_FILE = "docs/reference/connection-request.schema.json"


def _no_credentials_name(key: str) -> str:
    if key.lower() in catalogue().credential_settings:
        broken("invalid-setting", LIKE_CREDENTIAL)
    return key


ConstantKey = Annotated[HarmlessKey, AfterValidator(_no_credentials_name)]


class Target(RequestModel):
    """The Azure service resource to connect to."""

    type: TypeName
    """Name of a row of the target catalogue, such as storage-blob."""
    id: Annotated[str, arm_id()]
    """ARM id of the target."""


class ConnectionKey(RequestModel):
    """What makes a connection the same connection."""

    name: Name
    """Name of the connection; letters and digits alone distinguish it, without regard to case."""
    cluster_id: Annotated[str, arm_id(CLUSTER)]
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
    identity_id: Annotated[str, arm_id(IDENTITY)] = ""
    """A user-assigned identity to use instead of one made for the workload; the policy must list it."""
    service_account: Label = ""
    """A service account of your own instead of one made for the identity; it gets one annotation.

    The policy must list it."""
    customized_keys: Annotated[Mapping[SettingKey, SettingKey], Field(max_length=SETTINGS_LIMIT)] = Field(
        default_factory=dict
    )
    """Own names of settings, by the names that they have otherwise."""
    additional_settings: Annotated[Mapping[ConstantKey, HarmlessValue], Field(max_length=SETTINGS_LIMIT)] = (
        Field(default_factory=dict)
    )
    """Constant settings beside the target's own. They are stored and shown: no credentials."""
    auth_type: AuthType = "workloadIdentity"
    """How the workload proves who it is; ``secret`` (a key of the target) only where the policy allows it."""
    settings_in: SettingsIn = "secret"
    """Kind of the object that holds the settings; ``secretProviderClass`` mounts a vault into pods."""
    vault_objects: Annotated[Sequence[VaultObject], Field(max_length=SETTINGS_LIMIT)] = Field(
        default_factory=list
    )
    """What is mounted of a vault; given with ``settingsIn`` ``secretProviderClass``, and only then."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        kept = {"customizedKeys": self.customized_keys, "additionalSettings": self.additional_settings}
        if fault := mount_fault(self.settings_in, self.vault_objects, kept=kept, intent=self.intent):
            broken("settings-mismatch", fault)
        if self.auth_type == "secret":
            odd = {"intent": self.intent, "identityId": self.identity_id}
            odd["serviceAccount"] = self.service_account
            odd["settingsIn"] = self.settings_in.removeprefix("secret")
            given = ", ".join(name for name, value in odd.items() if value)
            if given:
                broken(
                    "auth-mismatch", f"{given}: a connection by a key has a secret, and no identity or roles"
                )
        return self


class _Request(RequestModel):
    request_id: RequestId = ""
    """The sender's key: the same key again is the same request. By default the queue message's id."""


class CreateRequest(_Request):
    """Make a connection, or bring an existing one to what is asked."""

    action: Literal["create"]
    connection: NewConnection


class UpdateRequest(_Request):
    """Change a connection that is there: its intent, client type, settings, or the part of its target."""

    action: Literal["update"]
    connection: NewConnection
    """The connection as it shall be, whole."""


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
            broken("wrong-type", "connection is an object")
        if len(given) != 1:
            code = "unknown-property" if given else "missing-property"
            broken(code, "give either connectionId or connection")
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


Request = CreateRequest | UpdateRequest | DeleteRequest | ValidateRequest | RepairRequest | AdoptRequest
_MODELS: Mapping[str, type[Request]] = MappingProxyType(
    {
        "create": CreateRequest,
        "update": UpdateRequest,
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


def to_spec(request: CreateRequest | UpdateRequest) -> ConnectionSpec:
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
        service_account=asked.service_account,
        customized_keys=dict(asked.customized_keys),
        additional_settings=dict(asked.additional_settings),
        auth_type="" if asked.auth_type == "workloadIdentity" else asked.auth_type,
        settings_in="" if asked.settings_in == "secret" else asked.settings_in,
        vault_objects=by_file(asked.vault_objects),
    )


def to_body(spec: ConnectionSpec) -> dict[str, Any]:
    """``connection`` of the request that asks for a spec."""
    body: dict[str, Any] = {
        to_camel(name): value
        for name, value in spec.model_dump(mode="json", exclude_defaults=True).items()
        if name in NewConnection.model_fields
    }
    mounted = {"vaultObjects": as_asked(spec.vault_objects)} if spec.mounted else {}
    return {**body, **mounted, "target": {"type": spec.target_type, "id": spec.target_id}}


def connection_id_of(request: Request) -> ConnectionId:
    """The connection that a request is about, whichever way it names it; empty for an adoption.

    Only the linker itself says which namespace, and so which connection, it is.
    """
    if isinstance(request, AdoptRequest):
        return ConnectionId("")
    if isinstance(request, _ExistingRequest) and request.connection_id:
        return ConnectionId(request.connection_id)
    key = request.connection
    assert key is not None  # noqa: S101 - the model's own rule: an id or a name
    return naming.connection_id(key.cluster_id, key.namespace, key.name)
