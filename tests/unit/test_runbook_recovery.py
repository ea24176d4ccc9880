"""The commands of the page on lost tables, pasted as they are printed, wait for what they ask for."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.pages import ROOT

BLOCKS = re.findall(
    r"^```sh\n(STATE=.*?)```",
    (ROOT / "docs" / "runbooks" / "disaster-recovery.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
STUBS = """
sleep() { echo "sleep" >> calls; }
curl() {
  printf '%s\\n' "$*" >> calls
  case "$*" in
    *POST*api/recoveries) cat begun ;;
    *POST*api/sweeps) echo '{"outcome": "opened"}' ;;
    *) cat "answer$(grep -c 'api/recoveries/' calls)" ;;
  esac
}
APP=https://app KEY=k STATE=done
"""
"""What stands for the network; the shell has run the other block before."""


def pasted(folder: Path, block: str, begun: str, states: list[str]) -> tuple[list[str], str]:
    """Calls in their order, and what a person saw."""
    if shutil.which("jq") is None or shutil.which("bash") is None:
        pytest.skip("needs bash and jq")
    (folder / "begun").write_text(begun)
    for index, state in enumerate(states, start=1):
        found = {"state": state, "details": {}, "connections": [{"name": "a", "outcome": "not-recovered"}]}
        (folder / f"answer{index}").write_text(json.dumps(found))
    done = subprocess.run(
        ["bash", "-c", STUBS + block], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return (folder / "calls").read_text().splitlines(), done.stdout


def test_the_page_has_a_dry_run_and_the_recovery():
    assert ["-d ''" in block.partition("\n")[2].partition("\n")[0] for block in BLOCKS] == [True, False]
    assert "write" in BLOCKS[1]


@pytest.mark.parametrize("block", BLOCKS, ids=["dry run", "recovery"])
def test_it_looks_until_the_recovery_has_ended_and_sweeps_only_then(tmp_path: Path, block: str):
    calls, seen = pasted(tmp_path, block, '{"recoveryId": "r1"}', ["starting", "running", "done"])
    looked = [one for one in calls if one.endswith("/api/recoveries/r1")]
    assert len(looked) == 3
    assert calls.count("sleep") == 3
    assert "not-recovered" in seen
    swept = [index for index, one in enumerate(calls) if one.endswith("/api/sweeps")]
    assert swept == ([len(calls) - 1] if "write" in block else [])


@pytest.mark.parametrize("block", BLOCKS, ids=["dry run", "recovery"])
@pytest.mark.parametrize("begun", ['{"code": "sweep-under-way"}', "", "<html>"])
def test_what_was_not_begun_is_neither_looked_at_nor_swept(tmp_path: Path, block: str, begun: str):
    calls, seen = pasted(tmp_path, block, begun, [])
    assert len(calls) == 1
    assert "sweep is under way" in seen


@pytest.mark.parametrize("block", BLOCKS, ids=["dry run", "recovery"])
def test_one_that_was_given_up_is_not_taken_for_done(tmp_path: Path, block: str):
    calls, seen = pasted(tmp_path, block, '{"recoveryId": "r1"}', ["running", "abandoned"])
    assert [one for one in calls if one.endswith("/api/sweeps")] == []
    assert "abandoned" in seen
