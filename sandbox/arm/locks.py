"""Management locks: a resource like any other, and the refusals it causes at its scope and below."""

from __future__ import annotations

from sandbox.arm.errors import scope_locked
from sandbox.arm.ids import ResourceId, id_key, is_at_or_below, parse_id
from sandbox.arm.store import Store

LOCKS = "Microsoft.Authorization/locks"


def check_locks(store: Store, method: str, target: ResourceId) -> None:
    """Refuse a request that a lock forbids.

    ``CanNotDelete`` forbids deletes, ``ReadOnly`` every write and action. Deleting a scope is also
    refused while something below it is locked.

    Raises:
        ArmError: 409 ``ScopeLocked``.
    """
    if method in {"GET", "HEAD"} or target.type.lower() == LOCKS.lower():
        return
    found: list[str] = []
    for lock in store.of_type(LOCKS):
        scope = parse_id(lock["id"]).scope
        scope_key = id_key(scope)
        level = str(lock["properties"].get("level", "")).lower()
        holds = is_at_or_below(target.key, scope_key)
        if method == "DELETE":
            holds = holds or is_at_or_below(scope_key, target.key)
        elif level != "readonly":
            continue
        if holds:
            found.append(scope)
    if found:
        raise scope_locked(target.text, "delete" if method == "DELETE" else "write", found)
