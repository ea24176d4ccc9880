"""Records tables, queues and the world as the code of some commit leaves them in the middle of its work.

Run with an old checkout as the working folder; what it prints is loaded into later code by a test::

    git worktree add ../old COMMIT && cd ../old
    python ../mooring/tests/upgrade/record.py COMMIT > ../mooring/tests/data/upgrade/COMMIT.json

It uses the fakes of that commit, and of them only what has been there from the beginning.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))

from scenes import SCENES, SETTINGS  # from beside this file, not from the old checkout

from shared.rows import TABLES
from tests.fakes.local_app import LocalApp, make_app


def plain(value: Any) -> Any:
    """A value as JSON: sets and tuples are lists, mappings with other keys than text lists of pairs."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(plain(one) for one in value)
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "items"):
        pairs = [[plain(key), plain(one)] for key, one in value.items()]
        return dict(pairs) if all(isinstance(key, str) for key, _ in pairs) else pairs
    return value


WORLD = (
    "groups",
    "resources",
    "identities",
    "credentials",
    "assignments",
    "linkers",
    "locks",
    "clusters",
    "data_planes",
)


def recorded(app: LocalApp) -> dict[str, Any]:
    """Everything that a later version would find."""
    return {
        "now": app.clock.now().isoformat(),
        "tables": {
            table: [
                {
                    "partition": row.partition,
                    "key": row.key,
                    "columns": dict(row.columns),
                    "writtenAt": row.written_at.isoformat(),
                }
                for row in app.store.rows(table)
            ]
            for table in TABLES
        },
        "queues": {
            name: [{"text": one.text, "visibleAt": one.visible_at.isoformat()} for one in waiting]
            for name, waiting in app.queue._queues.items()
            if waiting
        },
        "world": {part: plain(getattr(app.world, part)) for part in WORLD},
        "number": app.world.number(),
    }


async def main(commit: str) -> None:
    """Print the scenes of this checkout."""
    scenes: dict[str, Any] = {}
    for scene in SCENES:
        with tempfile.TemporaryDirectory() as folder:
            settings = SETTINGS.get(scene.__name__, {})
            app = make_app(Path(folder), **settings)
            await scene(app)
            scenes[scene.__name__] = {"settings": settings, **recorded(app)}
    lines = [
        f"{json.dumps(name)}: {json.dumps(scene, separators=(',', ':'))}" for name, scene in scenes.items()
    ]
    print(f'{{"commit": {json.dumps(commit)}, "scenes": {{\n' + ",\n".join(lines) + "\n}}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
