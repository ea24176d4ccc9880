"""A target of any type that moved lives on, and another one of its name is told from it by its facts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from shared import naming
from shared.catalogue import catalogue
from shared.errors import NotYetError
from shared.models import Intent, Kind
from shared.targets import GATED, WORKS
from tests.fakes.local_app import SUBSCRIPTION, LocalApp
from tests.fakes.step_bench import Bench
from tests.fakes.target_examples import Example, examples

OTHER_SUBSCRIPTION = "99999999-9999-4999-8999-999999999999"
ELSEWHERE = f"/subscriptions/{OTHER_SUBSCRIPTION}/resourceGroups/moved"
CONNECTABLE = [
    one
    for row in catalogue().rows
    if any(auth.status in {WORKS, GATED} for auth in row.auth.values())
    for one in examples(row)
]


def moved(resource_id: str) -> str:
    return f"{ELSEWHERE}/providers/{resource_id.partition('/providers/')[2]}"


def recorded(bench: Bench, facts: dict[str, str]) -> None:
    bench.intents["preflight"] = Intent(
        connection_id=bench.connection.connection_id,
        step="preflight",
        generation=bench.connection.generation,
        planned={},
        outputs={"facts": facts},
    )


def another(answer: Any) -> Any:
    """An answer in which every host and text is another's."""
    if isinstance(answer, dict):
        return {key: value if key == "kind" else another(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [another(one) for one in answer]
    if not isinstance(answer, str):
        return answer
    scheme, found, rest = answer.rpartition("://")
    return f"{scheme}{found}another-{rest}"


def gone(app: LocalApp, example: Example) -> Bench:
    """The bench of a connection whose target is missing under its id, with a witness that answers."""
    row = example.row
    bench = Bench(app, target_type=row.name, target_id=example.id)
    subscription_id = naming.subscription_of(example.id)
    bench.rules = dataclasses.replace(
        bench.rules,
        prune_confirm_seconds=0,
        prune_grace_seconds=0,
        subscription_ids=frozenset({SUBSCRIPTION, OTHER_SUBSCRIPTION, subscription_id}),
    )
    bench.app.world.groups.add(naming.fold_id(example.id.partition("/providers/")[0]))
    recorded(bench, example.facts())
    bench.become(Kind.PRUNE, resource_id=row.existence_id(example.id))
    return bench


def arrives(bench: Bench, example: Example, *, changed: bool = False) -> str:
    """The target appears under another subscription; its id there."""
    row, world = example.row, bench.app.world
    change = another if changed else dict
    if example.parent is not None:
        world.add_resource(moved(row.parent_id(example.id)), change(example.parent))
    successor = moved(row.existence_id(example.id))
    world.add_resource(successor, change(example.answer))
    return successor


def test_every_row_that_can_be_connected_to_is_among_the_examples():
    working = {row.name for row in catalogue().rows if row.works}
    assert len(working) >= 13
    assert working <= {one.row.name for one in CONNECTABLE}


@pytest.mark.parametrize("example", CONNECTABLE, ids=str)
async def test_a_target_of_any_type_with_its_recorded_facts_elsewhere_has_moved(
    app: LocalApp, example: Example
):
    bench = gone(app, example)
    successor = arrives(bench, example)
    result = await bench.apply("confirm_gone")
    assert result.ends_operation == "resource-moved"
    assert naming.fold_id(result.outputs["successor"]) == naming.fold_id(successor)


@pytest.mark.parametrize("example", CONNECTABLE, ids=str)
async def test_a_namesake_of_any_type_with_other_facts_is_another_target(app: LocalApp, example: Example):
    bench = gone(app, example)
    arrives(bench, example, changed=True)
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"


@pytest.mark.parametrize("example", CONNECTABLE, ids=str)
async def test_a_namesake_none_of_whose_facts_was_recorded_holds_the_prune(app: LocalApp, example: Example):
    bench = gone(app, example)
    recorded(bench, {"clientId": "c", "subscription": "s"})
    arrives(bench, example)
    with pytest.raises(NotYetError, match="nothing on record") as caught:
        await bench.apply("confirm_gone")
    assert caught.value.reason == "no-canary"


@pytest.mark.parametrize(
    "example", [one for one in CONNECTABLE if one.parent is not None], ids=lambda one: one.row.name
)
async def test_a_part_that_did_not_move_with_what_is_above_it_is_gone(app: LocalApp, example: Example):
    bench = gone(app, example)
    bench.app.world.remove(arrives(bench, example))
    assert (await bench.apply("confirm_gone")).outputs["fact"] == "gone"
