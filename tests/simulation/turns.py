"""How steps go on from try to try: what announces, what counts, what ends, seen from outside."""

from __future__ import annotations

from collections.abc import Callable

from shared.errors import MooringError, PermanentError, TransientError
from shared.models import StepMessage, StepRecord, StepState
from shared.ports import Columns, Row
from tests.simulation.ports import RUN
from tests.simulation.records import Records


class Turns:
    """The part of the oracles that knows turns, attempts and waits."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._permanent: set[str] = set()
        self._transient: set[str] = set()

    def failed(self, error: MooringError) -> None:
        """Learn which codes mean that trying again helps, from the errors that calls really had."""
        if isinstance(error, PermanentError):
            self._permanent.add(error.code)
        elif isinstance(error, TransientError):
            self._transient.add(error.code)

    def announce(self, message: StepMessage, records: Records) -> None:
        """No message precedes its row: a host that dies between the two must leave a row to go on from."""
        row = records.step(message.operation, message.step)
        if row is None or row.turn < message.turn:
            stands = f"{row.state} at turn {row.turn}" if row else "absent"
            self._fail(
                f"{message.step}/{message.turn} of {message.operation} is announced, its row is {stands}"
            )

    def row(self, key: str, before: Row, after: Columns, records: Records) -> None:
        """A step's row is about to change."""
        was, becomes = records.parse(StepRecord, before.columns), records.parse(StepRecord, after)
        if becomes.state is StepState.RUNNING and becomes.holder not in {"", was.holder}:
            run = RUN.get(None)
            if run is None or run.turn != was.turn:
                turn = run.turn if run else None
                self._fail(f"step {key} at turn {was.turn} is run by a message of turn {turn}")
            operation = records.operation(becomes.operation_id)
            if operation is None or operation.state.final:
                state = operation.state if operation else "absent"
                self._fail(f"step {key} is begun and its operation is {state}")
        if becomes.state is StepState.READY and was.state is StepState.RUNNING:
            if becomes.waiting and not becomes.code and becomes.attempts > was.attempts:
                self._fail(f"step {key} waits for {becomes.waiting} and is counted as tried")
            if becomes.code in self._permanent - self._transient:
                self._fail(f"step {key} is tried again after {becomes.code}, which is permanent")
        if becomes.state is StepState.FAILED and becomes.code == "closing-never-ended":
            self._closing(key, becomes, records)

    def _closing(self, key: str, step: StepRecord, records: Records) -> None:
        """A newcomer gave up before a mark: whoever set it must be at work still."""
        dead = [
            shared.thing
            for shared in records.shared()
            for operation in [records.operation(shared.closing)]
            if shared.closing and (operation is None or operation.state.final)
        ]
        if dead:
            self._fail(f"step {key} gave up ({step.code}); marks of ended operations: {', '.join(dead[:3])}")
