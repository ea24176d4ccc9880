"""What the audience sees: acts, lines that turned out as told, commands with their output, waits.

Nothing is printed as true before it was seen to be true. On a terminal there are colours and one moving line
for what is being waited for; elsewhere the same words, plain.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.status import Status
from rich.text import Text

POLL_SECONDS = 0.15
WAIT_SECONDS = 120.0
REMINDER_SECONDS = 5.0
"""Where there is no terminal, a long wait says so that often."""
PLAIN_WIDTH = 118
HEADING_WIDTH = 100
OUTPUT_INDENT = "        "


class NotAsToldError(Exception):
    """The story said something that did not turn out so.

    Attributes:
        line: What was told.
        cause: What was seen instead.
    """

    def __init__(self, line: str, cause: str) -> None:
        super().__init__(f"{line}: {cause}")
        self.line = line
        self.cause = cause


@dataclasses.dataclass(slots=True)
class Summary:
    """What the table at the end shows, in order."""

    rows: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def add(self, what: str, outcome: str) -> None:
        """Add a row."""
        self.rows.append((what, outcome))


class Stage:
    """Prints the story and holds it to the facts.

    Args:
        stream: Where to print.
        patience: Factor on all deadlines, for a sandbox that is slow on purpose.
    """

    def __init__(self, stream: TextIO = sys.stdout, *, patience: float = 1.0) -> None:
        probe = Console(file=stream)
        self._console = (
            probe if probe.is_terminal else Console(file=stream, width=PLAIN_WIDTH, color_system=None)
        )
        fancy = (getattr(stream, "encoding", "") or "").lower().replace("-", "") == "utf8"
        self._told, self._dash = ("✓", "─") if fancy else ("ok", "-")
        self._patience = patience
        self.line = "the sandbox starts"
        """What is being told at the moment."""
        self.summary = Summary()

    def title(self, title: str, *lines: str) -> None:
        """Open the story."""
        self._print(Text(title, "bold"))
        for line in lines:
            self._print(Text(line))

    def act(self, number: int, name: str, what: str) -> None:
        """Open an act."""
        self._print(Text(""))
        heading = f"{self._dash * 2} Act {number}, {name} "
        self._print(Text(heading.ljust(min(self._console.width, HEADING_WIDTH), self._dash), "bold cyan"))
        self._print(Text(what))

    def say(self, text: str) -> None:
        """Explain; nothing is claimed about the sandbox."""
        self._print(Text(f"  {text}"))

    def told(self, line: str, *, so: bool = True, seen: object = "") -> None:
        """Tell a fact.

        Args:
            line: What the audience reads.
            so: Whether it was seen to be so.
            seen: What was seen, for the audience of a failure.

        Raises:
            NotAsToldError: It is not so.
        """
        self.line = line
        if not so:
            raise NotAsToldError(line, f"seen instead: {seen}" if seen != "" else "it is not so")
        self._print(Text.assemble("  ", (self._told, "green"), f" {line}"))

    def step(self, name: str, word: str, seconds: float, note: str = "") -> None:
        """Show a step that has ended."""
        more = f"  {note}" if note else ""
        self._print(
            Text.assemble("      ", (f"{name:<22}", "cyan"), f"{word:<9}{seconds:5.2f} s", (more, "dim"))
        )

    def command(self, command: str, output: Sequence[str]) -> None:
        """Show a command that was run, and what it printed."""
        self._print(Text(f"    $ {command}", "bold"))
        for line in output:
            self._print(Text(OUTPUT_INDENT + line, "dim"))

    def output(self, lines: Sequence[str]) -> None:
        """Show what a program printed."""
        for line in lines:
            self._print(Text(f"    > {line}", "yellow"))

    def table(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show the summary."""
        width = max((len(what) for what, _ in rows), default=0)
        for what, outcome in rows:
            self._print(Text.assemble("  ", (what.ljust(width), "bold"), f"  {outcome}"))

    def failed(self, line: str, cause: str, logs: str, complaints: Sequence[str] = ()) -> None:
        """Tell what was not as told, why, what the app complained of, and where more is."""
        self._print(Text(""))
        self._print(Text(f"NOT AS TOLD: {line}", "bold red"))
        self._print(Text(f"  cause: {cause}"))
        for complaint in complaints:
            self._print(Text(f"         {complaint}"))
        self._print(Text(f"  logs:  {logs}"))

    async def until[T](
        self,
        what: str,
        look: Callable[[], Awaitable[T | None]],
        *,
        seconds: float = WAIT_SECONDS,
        last_seen: Callable[[], object] = lambda: "",
    ) -> T:
        """Look until there is something to see, showing what is waited for.

        Args:
            what: What is waited for.
            look: Returns ``None`` for "not yet".
            seconds: How long at most, before the patience for a slow sandbox.
            last_seen: What the looks have seen so far, for the message of a failure.

        Returns:
            What was seen.

        Raises:
            NotAsToldError: Nothing in time.
        """
        self.line = what
        limit_seconds = seconds * self._patience
        started = time.monotonic()
        with self.progress(what) as tick:
            while True:
                found = await look()
                if found is not None:
                    return found
                waited = time.monotonic() - started
                if waited > limit_seconds:
                    raise NotAsToldError(
                        what, f"not so after {limit_seconds:.0f} s, seen last: {last_seen()}"
                    )
                tick()
                await asyncio.sleep(POLL_SECONDS)

    async def during[T](self, what: str, work: Awaitable[T], *, seconds: float = WAIT_SECONDS) -> T:
        """Wait for one piece of work, showing what is waited for.

        Args:
            what: What is waited for.
            work: The work; it is cancelled when it takes too long.
            seconds: How long at most, before the patience for a slow sandbox.

        Raises:
            NotAsToldError: It takes too long.
        """
        self.line = what
        limit_seconds = seconds * self._patience
        started = time.monotonic()
        task = asyncio.ensure_future(work)
        try:
            with self.progress(what) as tick:
                while not task.done():
                    if time.monotonic() - started > limit_seconds:
                        raise NotAsToldError(what, f"not done after {limit_seconds:.0f} s")
                    tick()
                    await asyncio.wait({task}, timeout=POLL_SECONDS)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})  # so that what it clears away is cleared before we go on

    @contextlib.contextmanager
    def progress(self, what: str) -> Iterator[Callable[[], None]]:
        """Show what is being waited for; the function given is to be called now and then."""
        started = time.monotonic()
        if self._console.is_terminal:
            with Status(what, console=self._console, spinner="dots") as status:
                yield lambda: status.update(f"{_escaped(what)}  {time.monotonic() - started:.0f} s")
            return
        reminders = 1

        def remind() -> None:
            nonlocal reminders
            waited = time.monotonic() - started
            if waited >= reminders * REMINDER_SECONDS:
                reminders += 1
                self._print(Text(f"      ... {what}: waited {waited:.0f} s"))

        yield remind

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def _escaped(text: str) -> str:
    """Status lines are markup; names in them are not."""
    return text.replace("[", "\\[")
