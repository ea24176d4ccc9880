"""The JSON Schema of a request, as published for those who send one."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from shared.requests import Request


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a request, as published."""
    adapter: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="action")])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Connection request",
        **_tidied(adapter.json_schema(by_alias=True)),
    }


def _tidied(schema: Any) -> Any:
    """A schema without what only stands for "absent": empty defaults and null, both of which we refuse."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema if item != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _tidied(item) for key, item in schema.items() if key != "default" or item}
    if "patternProperties" in kept:
        kept["additionalProperties"] = False
    (only,) = kept.pop("anyOf", [{}])
    return kept | only
