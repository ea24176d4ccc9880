"""What was asked for, written on the object with the settings, so that lost tables can be rebuilt.

An annotation of the secret or config map holds the connection's properties but for the namespace, where the
object is, and for the values of additional settings, which are in it. It is a claim of whoever may write the
object: a recovery believes it only where Azure confirms it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from shared import naming
from shared.spec import ConnectionSpec

ANNOTATION_REQUEST = "mooring.dev/request"
CHARACTERS = 16_000
"""Longest text that is read; Kubernetes bounds an object's annotations at 256 KiB together."""
_ELSEWHERE = frozenset({"namespace", "additional_settings"})
"""What is told by the place, or by the object's values."""
_MOUNTED = {"name", "type"}
"""What there is of each object of a vault."""


def text_of(spec: ConnectionSpec) -> str:
    """The annotation of a connection's secret; the same for the same wish."""
    found: dict[str, Any] = spec.model_dump(mode="json", exclude=set(_ELSEWHERE))
    found["additional_settings"] = sorted(spec.additional_settings)
    return json.dumps({name: value for name, value in found.items() if value}, sort_keys=True)


def additional(text: str) -> tuple[str, ...] | None:
    """Names of the additional settings, whose values the secret has; ``None`` if it is no inscription."""
    found = _read(text)
    names = found.get("additional_settings", []) if found is not None else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def spec_of(
    text: str, *, cluster_id: str, namespace: str, data: Mapping[str, str] | None = None
) -> ConnectionSpec | None:
    """The wish that an inscription tells; ``None`` if it tells none.

    Args:
        text: the annotation.
        cluster_id: of the cluster in which the secret is.
        namespace: of the secret.
        data: the secret's values, which must have the additional settings; without them these are left out.
    """
    found, names = _read(text), additional(text)
    values = {name: value for name, value in (data or {}).items() if names and name in names}
    if found is None or names is None or (data is not None and len(values) != len(set(names))):
        return None
    # As it was asked for, if it is this cluster: Azure's lists write ids in another casing.
    asked = str(found.get("cluster_id", ""))
    here = naming.fold_id(asked) == naming.fold_id(cluster_id)
    place = {"cluster_id": asked if here else cluster_id, "namespace": namespace}
    try:
        spec = ConnectionSpec.model_validate({**found, **place, "additional_settings": values}, strict=True)
    except ValidationError:
        return None
    # What a request could not have said of a vault nobody can mount.
    return spec if all(set(one) == _MOUNTED for one in spec.vault_objects.values()) else None


def _read(text: str) -> dict[str, Any] | None:
    if len(text) > CHARACTERS:
        return None
    try:
        found = json.loads(text)
        # Half of a surrogate pair, escaped, is JSON and no text: no row could hold it.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
