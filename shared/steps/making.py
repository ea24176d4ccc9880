"""Making a cluster object that was not there, without touching one that somebody makes meanwhile.

A server-side apply creates or changes, whichever it meets: between our look and our apply somebody else may
have made an object of that name, and the apply would write into it. So what was absent is made by a POST,
which refuses to meet anything, and what was there is applied over as it was read: a write that lands late,
after another operation has written, is a conflict and changes nothing.
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
    planned: Mapping[str, Any],
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    data: Mapping[str, str] | None = None,
    force: bool = False,
) -> KubeObject:
    """Make an object in the connection's namespace, or apply over the one that is ours.

    Args:
        ctx: of the run; the intent with the nonce is saved already.
        there: the object as this run has seen it before it saved its intent, ``None`` if it was absent.
        kind: ``Secret``, ``ConfigMap`` or ``ServiceAccount``.
        name: of the object.
        ours: says whether an object is ours.
        refusal: raised for one that is not.
        planned: the intent, as it was saved.
        labels: of the object.
        annotations: of the object.
        data: the values of a secret or config map.
        force: take over fields of other managers.

    Raises:
        PermanentError: ``refusal``; ``field-conflict`` if another manager owns a field.
        StateConflictError: the operation was superseded or the lease was lost.
        TransientError: ``object-flickers``: there when we made it, and gone when we looked;
            ``kubernetes-conflict``: it is not as it was read.
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
        # Who overtook this operation may have made it: then it is not ours to change any more.
        await ctx.recorder.intend(planned)
    if not ours(there):
        raise refusal
    exact = {"uid": there.uid, "resource_version": there.resource_version}
    return await clusters.apply(
        *place, labels=labels, annotations=annotations, data=data, force=force, **exact
    )
