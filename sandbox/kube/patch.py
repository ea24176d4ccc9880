"""The three patch formats besides apply: JSON patch, merge patch and strategic merge patch."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import jsonpointer

from sandbox.kube.errors import ApiError, bad_request
from sandbox.kube.resources import Object
from sandbox.kube.schema import Fields, item_key, merge_keys

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)

_DIRECTIVES = ("$patch", "$retainKeys", "$setElementOrder/", "$deleteFromPrimitiveList/")


def patched(stored: Object, patch: Any, media_type: str) -> Object:
    """What ``stored`` becomes; the argument is left as it is.

    Args:
        stored: The object as it stands.
        patch: The decoded request body.
        media_type: One of ``PATCH_TYPES`` except apply.

    Raises:
        ApiError: 400 for a body that is no patch of that type, 422 for a JSON patch that does not fit.
    """
    if media_type == JSON_PATCH:
        return _json_patched(stored, patch)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a patch of this type is a JSON object")
    if media_type == MERGE_PATCH:
        merged: Object = merge_patched(copy.deepcopy(stored), patch)
        return merged
    return _strategic(copy.deepcopy(stored), patch, ())


def _json_patched(stored: Object, patch: Any) -> Object:
    if not isinstance(patch, list):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    try:
        changed: Object = jsonpatch.apply_patch(stored, patch)
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"error decoding patch: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
        message = "the server rejected our request due to an error in our request"
        raise ApiError(422, "Invalid", message, details={}) from None
    return changed


def merge_patched(value: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386): maps merge, null removes, the rest replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = value if isinstance(value, dict) else {}
    for key, part in patch.items():
        if part is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patched(merged.get(key), part)
    return merged


def _strategic(value: Object, patch: Object, fields: Fields) -> Object:
    if patch.get("$patch") == "replace":
        return {key: part for key, part in patch.items() if key != "$patch"}
    if patch.get("$patch") == "delete":
        return {}
    for key, part in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            value[name] = [item for item in value.get(name) or [] if item not in part]
    if "$retainKeys" in patch:
        value = {key: part for key, part in value.items() if key in patch["$retainKeys"]}
    for key, part in patch.items():
        if key.startswith(_DIRECTIVES):
            continue
        here = (*fields, key)
        if part is None:
            value.pop(key, None)
        elif isinstance(part, dict):
            before = value.get(key)
            value[key] = _strategic(before if isinstance(before, dict) else {}, part, here)
        elif isinstance(part, list):
            value[key] = _strategic_list(value.get(key) or [], part, here)
        else:
            value[key] = part
    return value


def _strategic_list(value: list[Any], patch: list[Any], fields: Fields) -> list[Any]:
    keys = merge_keys(fields)
    if keys is None:
        return patch
    if not keys:
        return value + [item for item in patch if item not in value]
    if any(isinstance(item, dict) and item == {"$patch": "replace"} for item in patch):
        return [item for item in patch if item != {"$patch": "replace"}]
    # Strategic merge knows one key per list; the first of ours is the server's patchMergeKey.
    keys = keys[:1]
    merged = {item_key(item, keys): item for item in value}
    for item in patch:
        if not isinstance(item, dict) or keys[0] not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {keys[0]}")
        identity = item_key(item, keys)
        if item.get("$patch") == "delete":
            merged.pop(identity, None)
        else:
            merged[identity] = _strategic(merged.get(identity, {}), item, fields)
    return list(merged.values())
