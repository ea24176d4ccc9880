"""What the worker says about each function of the app."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

HTTP = "httptrigger"
QUEUE = "queuetrigger"
EVENT_GRID = "eventgridtrigger"
TIMER = "timertrigger"
SUPPORTED = frozenset({HTTP, QUEUE, EVENT_GRID, TIMER})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """A declared retry policy. Only timers honour it here (of the supported triggers)."""

    max_retry_count: int
    """-1 is without end."""
    fixed_seconds: float | None = None
    minimum_seconds: float = 0.0
    maximum_seconds: float = 0.0

    def delay_seconds(self, retry: int) -> float:
        """Return the wait before retry number ``retry`` (from 1)."""
        if self.fixed_seconds is not None:
            return self.fixed_seconds
        return float(min(self.maximum_seconds, max(self.minimum_seconds, 0.1) * 2 ** (retry - 1)))

    @classmethod
    def parse(cls, raw: Mapping[str, Any] | None) -> RetryPolicy | None:
        """Read the worker's ``RpcRetryOptions``."""
        if not raw:
            return None
        return cls(
            max_retry_count=int(raw["max_retry_count"]),
            fixed_seconds=raw.get("delay_interval"),
            minimum_seconds=raw.get("minimum_interval", 0.0),
            maximum_seconds=raw.get("maximum_interval", 0.0),
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FunctionDefinition:
    """One function: its trigger, its outputs, its retry policy."""

    name: str
    function_id: str
    trigger: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any]]
    """Output bindings by parameter name; ``$return`` for the return value. HTTP is not among them."""
    bindings: tuple[Mapping[str, Any], ...]
    retry: RetryPolicy | None = None

    @property
    def trigger_type(self) -> str:
        """The trigger's binding type in lower case (the host compares without case)."""
        return str(self.trigger["type"]).lower()

    @property
    def parameter(self) -> str:
        """Name of the parameter that takes the trigger's value."""
        return str(self.trigger["name"])

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> FunctionDefinition:
        """Read one entry of the worker's metadata answer.

        Raises:
            ValueError: No trigger, or a trigger or output this host does not have.
        """
        bindings = tuple(json.loads(text) for text in raw["raw_bindings"])
        triggers = [item for item in bindings if str(item["type"]).lower().endswith("trigger")]
        if len(triggers) != 1 or str(triggers[0]["type"]).lower() not in SUPPORTED:
            kinds = ", ".join(str(item["type"]) for item in bindings)
            raise ValueError(f"function '{raw['name']}' has no trigger this host knows (bindings: {kinds})")
        outputs: dict[str, Mapping[str, Any]] = {}
        for item in bindings:
            kind = str(item["type"]).lower()
            if item is triggers[0] or kind == "http":
                continue
            if kind != "queue":
                raise ValueError(f"function '{raw['name']}': binding type '{item['type']}' is not supported")
            outputs[str(item["name"])] = item
        return cls(
            name=raw["name"],
            function_id=raw["function_id"],
            trigger=triggers[0],
            outputs=outputs,
            bindings=bindings,
            retry=RetryPolicy.parse(raw.get("retry")),
        )
