"""A step that does what a test says, run after run."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from shared.models import Done, Finding
from shared.steps.base import StepContext
from tests.fakes.local_app import LocalApp

Act = Done | BaseException | Callable[[StepContext], Awaitable[Done]]


class ScriptedStep:
    """``steps.base.Step`` for tests; runs beyond the script are done at once."""

    def __init__(self, name: str, *acts: Act) -> None:
        self.name = name
        self.acts = list(acts)
        self.runs = 0

    async def check(self, ctx: StepContext) -> list[Finding]:
        await self._act(ctx)
        return []

    async def apply(self, ctx: StepContext) -> Done:
        return await self._act(ctx)

    async def revert(self, ctx: StepContext) -> Done:
        return await self._act(ctx)

    async def _act(self, ctx: StepContext) -> Done:
        self.runs += 1
        act = self.acts.pop(0) if self.acts else Done()
        if isinstance(act, BaseException):
            raise act
        return act if isinstance(act, Done) else await act(ctx)


def script(app: LocalApp, name: str, *acts: Act) -> ScriptedStep:
    """Replace one step of an app by a scripted one."""
    step = ScriptedStep(name, *acts)
    engine = app.services.engine
    steps = {**engine.steps, name: step}
    app.services = dataclasses.replace(app.services, engine=dataclasses.replace(engine, steps=steps))
    return step
