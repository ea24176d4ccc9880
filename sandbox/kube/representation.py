"""Content negotiation: what a client accepts and what it sends."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from sandbox.kube import errors
from sandbox.kube.resources import Object, Resource
from sandbox.kube.tables import partial, table

BODY_TYPES = ("application/json", "application/yaml")


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """How a client wants objects."""

    form: str = ""
    """Empty for whole objects, else ``Table``, ``PartialObjectMetadata`` or ``PartialObjectMetadataList``."""
    include: str = "Metadata"
    """What comes along with a table's row."""

    @classmethod
    def asked(cls, accept: str, include: str) -> Shape:
        """The first alternative of an Accept header that is spoken here.

        Raises:
            ApiError: 406 when there is none, as for a client that takes protobuf only.
        """
        for alternative in (accept or "*/*").split(","):
            media_type, *parameters = (part.strip() for part in alternative.split(";"))
            options = dict(part.partition("=")[::2] for part in parameters)
            if media_type not in {"application/json", "application/*", "*/*"}:
                continue
            form = options.get("as", "")
            if not form:
                return cls()
            if options.get("g") == "meta.k8s.io" and options.get("v") == "v1":
                return cls(form, include or "Metadata")
        raise errors.not_acceptable()

    def single(self, resource: Resource, shown: Object) -> Object:
        """One object in this shape; a Status stays as it is."""
        if shown.get("kind") != resource.kind:
            return shown
        if self.form == "Table":
            version = shown["metadata"].get("resourceVersion", "")
            return table(resource, [shown], {"resourceVersion": version}, self.include)
        if self.form.startswith("PartialObjectMetadata"):
            return partial(shown)
        return shown

    def collection(self, resource: Resource, objects: list[Object], metadata: dict[str, Any]) -> Object:
        """A list in this shape."""
        if self.form == "Table":
            return table(resource, objects, metadata, self.include)
        if self.form.startswith("PartialObjectMetadata"):
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": [partial(shown) for shown in objects],
            }
        return {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": metadata,
            "items": objects,
        }


def decoded(raw: bytes, content_type: str, accepted: tuple[str, ...]) -> Any:
    """A request body as JSON data; None when it is empty.

    Args:
        raw: The body.
        content_type: Its header; empty means JSON, since some clients send none.
        accepted: Media types of this request.

    Raises:
        ApiError: 415 for another media type (protobuf among them), 400 for a body that is none.
    """
    media_type = content_type.partition(";")[0].strip()
    if media_type and media_type not in accepted:
        raise errors.unsupported_media_type(accepted)
    if not raw.strip():
        return None
    try:
        return json.loads(raw)
    except ValueError as error:
        if not media_type.endswith("yaml"):
            message = f"couldn't get version/kind; json parse error: {error}"
            raise errors.bad_request(message) from None
    import yaml

    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from None
