"""A policy that has become narrower since a request was taken in holds what was not begun yet."""

import pytest

from shared.errors import PermanentError
from shared.models import Kind
from tests.fakes.local_app import LocalApp
from tests.fakes.step_bench import Bench

NOBODY = "version = 1\n"


async def test_a_create_that_waited_is_held_to_the_policy_of_now_and_makes_nothing(app: LocalApp):
    bench = Bench(app)
    bench.judged = True
    app.policy_file.write_text(NOBODY)
    with pytest.raises(PermanentError) as caught:
        await bench.apply("preflight")
    assert caught.value.code == "policy-denied"
    assert caught.value.remedy
    assert not bench.dependents


async def test_a_policy_that_cannot_be_read_lets_no_create_begin(app: LocalApp):
    bench = Bench(app)
    bench.judged = True
    app.policy_file.write_text("version = ")
    with pytest.raises(PermanentError) as caught:
        await bench.apply("preflight")
    assert caught.value.code == "policy-unreadable"


async def test_a_repair_puts_back_what_was_allowed_when_it_was_made(app: LocalApp):
    bench = Bench(app)
    await bench.up_to("settings")
    app.policy_file.write_text(NOBODY)
    bench.become(Kind.REPAIR)
    await bench.apply("preflight")
