"""Making a cluster object that was not there, without touching one that somebody makes meanwhile.

A server-side apply creates or changes, whichever it meets: between our look and our apply somebody else may
have made an object of that name, and the apply would write into it. So what was absent is made by a POST,
which refuses to meet anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import PermanentError, TransientError
from shared.ports import KubeObject
from shared.steps.base import StepContext

SECRET = "Secret"


def kind_of(planned: Mapping[str, Any]) -> str:
    """Kind of the object that a plan of the settings is about."""
    return str(planned.get("kind", SECRET))


async def put_object(
    ctx: StepContext,
    there: KubeObject | None,
    kind: str,
    name: str,
    *,
    ours: Callable[[KubeObject], bool],
    refusal: PermanentError,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    data: Mapping[str, str] | None = None,
    force: bool = False,
) -> KubeObject:
    """Make an object in the connection's namespace, or apply over the one that is ours.

    Args:
        ctx: of the run; the intent with the nonce is saved already.
        there: the object as this run has seen it, ``None`` if it was absent.
        kind: ``Secret``, ``ConfigMap`` or ``ServiceAccount``.
        name: of the object.
        ours: says whether an object is ours.
        refusal: raised for one that is not.
        labels: of the object.
        annotations: of the object.
        data: the values of a secret or config map.
        force: take over fields of other managers.

    Raises:
        PermanentError: ``refusal``; ``field-conflict`` if another manager owns a field.
        TransientError: ``object-flickers``: there when we made it, and gone when we looked.
    """
    spec = ctx.connection.spec
    clusters = ctx.outside.clusters
    place = (spec.cluster_id, kind, spec.namespace, name)
    if there is None:
        try:
            return await clusters.create(*place, labels=labels, annotations=annotations, data=data)
        except PermanentError as error:
            if error.code != "object-exists":
                raise
        there = await clusters.get(*place)
        if there is None:
            raise TransientError("object-flickers", f"{kind} {spec.namespace}/{name} came and went")
    if not ours(there):
        raise refusal
    return await clusters.apply(*place, labels=labels, annotations=annotations, data=data, force=force)
