"""The kinds of values in a request, each with its rule."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, core_schema

from shared import credential_shapes, naming
from shared.refusals import like_credential

CLUSTER = "Microsoft.ContainerService/managedClusters"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
_LINKER = "/providers/microsoft.servicelinker/linkers/"


class RequestModel(BaseModel):
    """Base of the wire's models: camelCase, nothing unknown, nothing converted."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, use_attribute_docstrings=True
    )


def broken(code: str, rule: str) -> NoReturn:
    """Refuse a value: the code and the rule in words."""
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
            broken(self.code, fault)
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


def arm_id(kind: str = "") -> _Rule:
    """An ARM id, of exactly the top-level type ``kind`` if one is given."""
    pattern = "^/[^/]+/[0-9A-Fa-f-]{36}/[^/]+/[^/]+/[^/]+/[^/]+(/[^/]+/[^/]+)+$"
    return _Rule("invalid-id", pattern, lambda value: naming.id_fault(value, kind))


def _linker_fault(value: str) -> str:
    """The first rule that an id breaks as the id of a cluster's linker, or an empty string."""
    cluster_id, found, name = naming.fold_id(value).partition(_LINKER)
    bad = not found or not name or "/" in name or naming.id_fault(cluster_id, CLUSTER)
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
AuthType = Annotated[str, _text(r"^(workloadIdentity|secret)$", "workloadIdentity or secret")]
SettingsIn = Annotated[
    str,
    _text(r"^(secret|configMap|secretProviderClass)$", "secret, configMap or secretProviderClass"),
]
VaultName = Annotated[
    str, _text(r"^[A-Za-z0-9-]{1,127}$", "letters, digits and '-', at most 127", "invalid-vault-object")
]
"""A name in a vault (learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates)."""
VaultType = Annotated[str, _text(r"^(secret|key|cert)$", "secret, key or cert", "invalid-vault-object")]
FileName = Annotated[
    str,
    _text(
        r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,126}$",
        "letters, digits and ._-, at most 127, no dot first",
        "invalid-vault-object",
    ),
]
RequestId = Annotated[
    str, _text(r"^[A-Za-z0-9._:-]{1,128}$", "letters, digits and ._:-, at most 128", "invalid-id")
]
LinkerId = Annotated[str, _Rule("invalid-id", r"/[Ll][Ii][Nn][Kk][Ee][Rr][Ss]/[^/]+$", _linker_fault)]
_KEY = r"^[A-Za-z_][A-Za-z0-9._-]{0,127}$"
_KEY_RULE = "letters, digits and ._-, at most 128, a letter or _ first"
SettingKey = Annotated[str, _text(_KEY, _KEY_RULE)]
"""A name that a secret and a config map take as a key (kubernetes.io, "ConfigMaps", "Secrets")."""


LIKE_CREDENTIAL = "this looks like a credential: keep it in a vault, and connect the vault"


def names_credential(key: str) -> bool:
    """Say whether a setting's name looks like that of a credential."""
    return credential_shapes.named(key) or like_credential(key)


def _harmless(rule: _Rule, refused: Callable[[str], bool]) -> _Rule:
    """The rule, and that the text does not look like a credential: whatever is stored may be read by many."""

    def fault(text: str) -> str:
        return rule.fault(text) or (LIKE_CREDENTIAL if refused(text) else "")

    return dataclasses.replace(rule, fault=fault)


HarmlessKey = Annotated[str, _harmless(_text(_KEY, _KEY_RULE, "invalid-setting"), names_credential)]
HarmlessValue = Annotated[
    str,
    _harmless(
        _text(r"^[^\x00-\x1f\x7f]{0,256}$", "one line of at most 256 characters", "invalid-setting"),
        like_credential,
    ),
]
HexId = Annotated[str, _text(r"^[0-9a-f]{24}$", "24 hexadecimal digits in lower case", "invalid-id")]
