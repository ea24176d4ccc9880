"""A look at whether a connection could be made, with its findings by name."""

from __future__ import annotations

import dataclasses
from typing import Any

from shared import looks, naming, requests
from shared.fitness import Fit, Fitness
from shared.models import Finding
from shared.spec import ConnectionSpec
from tests.fakes.local_app import CLUSTER, LocalApp, create_body


def spec_of(**changes: Any) -> ConnectionSpec:
    """A wanted connection."""
    request = requests.CreateRequest.model_validate(create_body(**changes))
    return requests.to_spec(request)


async def looked(app: LocalApp, *, within: float = 10.0, **changes: Any) -> tuple[Fit, dict[str, Finding]]:
    """The fit, and its findings by name."""
    spec = spec_of(**changes)
    looking: Fitness = dataclasses.replace(app.services.dry_run.fitness, look_seconds=within)
    fit = await looking.look(spec, app.services.catalogue.find(spec.target_type))
    row = app.services.catalogue.find(spec.target_type)
    conditions = dict.fromkeys(one.finding for one in row.requires)
    assert [one.name for one in fit.findings] == [looks.NAMES[0], *conditions, *looks.NAMES[1:]]
    return fit, {one.name: one for one in fit.findings}


def bad(findings: dict[str, Finding]) -> dict[str, str]:
    """Results that are not fine."""
    return {name: one.result for name, one in findings.items() if one.result != "ok"}


def described(app: LocalApp, **changes: Any) -> None:
    """Change what Azure says of the cluster."""
    cluster = app.world.clusters[naming.fold_id(CLUSTER)]
    cluster.described = dataclasses.replace(cluster.described, **changes)
