"""Keys of targets: made when the resource's keys are first asked for, and made anew when somebody says so."""

from __future__ import annotations

import base64
import functools
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.arm.call import Answer, Call
from sandbox.arm.store import Store
from sandbox.arm.target_shapes import fill

ROOT_RULE = "rootmanagesharedaccesskey"
"""The rule that every namespace of Service Bus and Event Hubs has from the start."""
KEY_BYTES = 64
_SECOND = ("2", "secondary")


@functools.cache
def key_answers() -> Mapping[str, Any]:
    """What ``listKeys`` answers, by folded type, with ``{primary}``, ``{secondary}`` and the names."""
    rows = json.loads(Path(__file__).with_name("key_answers.json").read_text())
    return {name.lower(): shape for name, shape in rows.items()}


def always_there(type_name: str, name: str) -> bool:
    """Say whether something that has keys exists with its parent."""
    return type_name.lower().endswith("/authorizationrules") and name.lower() == ROOT_RULE


def answer(store: Store, type_name: str, call: Call) -> Answer | None:
    """The answer of an action about keys; ``None`` if it is no such action.

    A regenerated key is the first one, unless the body says otherwise (``key2``, ``Secondary``).
    """
    shape, action = key_answers().get(type_name.lower()), call.action.lower()
    if shape is None or not action.startswith(("listkeys", "regeneratekey")):
        return None
    keys = store.note(call.id.text).setdefault("keys", {"primary": _key(), "secondary": _key()})
    if action.startswith("regenerate"):
        asked = json.dumps(list(call.body.values())).lower()
        keys["secondary" if any(one in asked for one in _SECOND) else "primary"] = _key()
    parent = call.id.names[-2] if len(call.id.names) > 1 else ""
    return Answer(200, fill(shape, {**keys, "name": call.id.name, "parent": parent}))


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
