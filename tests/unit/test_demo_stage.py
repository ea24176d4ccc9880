"""The demo's stage: only what is so is told, plainly where nobody watches."""

from __future__ import annotations

import asyncio
import io

import pytest

from sandbox.demo.stage import NotAsToldError, Stage


def stage_on(*, patience: float = 1.0) -> tuple[Stage, io.StringIO]:
    stream = io.StringIO()
    return Stage(stream, patience=patience), stream


def test_a_pipe_gets_no_colours_and_no_wrapped_lines() -> None:
    stage, stream = stage_on()
    stage.act(1, "ours", "what it is about")
    stage.told("word " * 60)
    stage.step("preflight", "done", 0.25, "a note")
    stage.table([("act 1", "1.0 s"), ("in all", "2.0 s")])
    text = stream.getvalue()
    assert "\x1b" not in text
    assert f"  ok {'word ' * 60}\n" in text
    assert "      preflight             done      0.25 s  a note\n" in text
    assert "  act 1   1.0 s\n  in all  2.0 s\n" in text


def test_square_brackets_are_shown_as_they_are() -> None:
    stage, stream = stage_on()
    stage.output(["[bold]not markup[/bold]"])
    stage.command("kubectl get secret", ["[1]"])
    assert "> [bold]not markup[/bold]\n" in stream.getvalue()
    assert "        [1]\n" in stream.getvalue()


def test_what_is_not_so_is_not_told() -> None:
    stage, stream = stage_on()
    with pytest.raises(NotAsToldError) as caught:
        stage.told("nothing is left", so=False, seen=["a secret"])
    assert caught.value.line == "nothing is left"
    assert caught.value.cause == "seen instead: ['a secret']"
    assert stream.getvalue() == ""


def test_a_failure_names_the_line_the_cause_and_the_logs() -> None:
    stage, stream = stage_on()
    stage.failed("nothing is left", "a secret is", "/logs", ["TypeError: x"])
    assert stream.getvalue() == (
        "\nNOT AS TOLD: nothing is left\n  cause: a secret is\n         TypeError: x\n  logs:  /logs\n"
    )


async def test_a_wait_returns_what_was_seen_first() -> None:
    stage, _ = stage_on()
    looks = iter([None, None, "there"])

    async def look() -> str | None:
        return next(looks)

    assert await stage.until("it is there", look) == "there"
    assert stage.line == "it is there"


async def test_a_wait_that_never_ends_says_what_was_seen_last() -> None:
    stage, _ = stage_on(patience=0.1)

    async def look() -> str | None:
        return None

    with pytest.raises(NotAsToldError, match="it is there: not so after 0 s, seen last: a shadow"):
        await stage.until("it is there", look, seconds=1, last_seen=lambda: "a shadow")


async def test_work_that_takes_too_long_is_cancelled() -> None:
    stage, _ = stage_on(patience=0.1)
    task = asyncio.ensure_future(asyncio.sleep(60))
    with pytest.raises(NotAsToldError, match="it sleeps: not done after 0 s"):
        await stage.during("it sleeps", task, seconds=1)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_work_comes_through() -> None:
    stage, _ = stage_on()

    async def work() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await stage.during("it works", work())


async def test_a_long_wait_reminds_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.demo.stage.REMINDER_SECONDS", 0.1)
    stage, stream = stage_on()
    await stage.during("it sleeps", asyncio.sleep(0.5))
    assert "... it sleeps: waited 0 s\n" in stream.getvalue()
