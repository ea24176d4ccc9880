"""The story of a connection: three acts on one sandbox, then what it came to."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable

from sandbox.contract import Contract
from sandbox.demo import act_ours, act_target, act_theirs
from sandbox.demo.cast import Cast
from sandbox.demo.stage import Stage

TITLE = "Mooring: access from AKS to Azure without a secret, and its complete removal"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """How the demo differs from the defaults: waits that nobody would sit through."""

    confirm_seconds: int = 2
    grace_seconds: int = 3
    recheck_seconds: int = 1

    def settings(self) -> dict[str, str]:
        """The app's settings."""
        return {
            "MOORING_PRUNE_CONFIRM_SECONDS": str(self.confirm_seconds),
            "MOORING_PRUNE_GRACE_SECONDS": str(self.grace_seconds),
            "MOORING_HOLD_RECHECK_SECONDS": str(self.recheck_seconds),
        }

    def explained(self) -> str:
        """The same for the audience."""
        return (
            f"Three clocks run faster than by default: confirm {self.confirm_seconds} s (60 s), "
            f"grace {self.grace_seconds} s (14 days), recheck {self.recheck_seconds} s (300 s)."
        )


def introduce(stage: Stage, clocks: Clocks) -> None:
    """Say what this is."""
    stage.title(
        TITLE,
        "A local Azure starts on this machine. Every line below is the outcome of a real call to it.",
        clocks.explained(),
    )


async def tell(contract: Contract, stage: Stage, clocks: Clocks, *, patience: float) -> None:
    """Tell all acts.

    Raises:
        NotAsToldError: Something was not as told.
    """
    async with Cast.gather(contract, stage, patience=patience) as cast:
        if cast.kubectl.name != "kubectl":
            stage.say(f"kubectl is not on PATH: {cast.kubectl.name} lists what it would.")
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "act 1, ours": lambda: act_ours.play(cast),
            "act 2, theirs": lambda: act_theirs.play(cast),
            "act 3, the target": lambda: act_target.play(
                cast, confirm_seconds=clocks.confirm_seconds, grace_seconds=clocks.grace_seconds
            ),
        }
        for name, play in acts.items():
            started = time.monotonic()
            await play()
            stage.summary.add(name, f"{time.monotonic() - started:.1f} s")
