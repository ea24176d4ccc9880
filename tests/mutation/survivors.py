"""Mutants that are known to live, each with the reason: ``survivors.toml`` is their list."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_name("survivors.toml")


def reasons(file: Path = FILE) -> Mapping[str, str]:
    """Why a mutant lives, by its key."""
    groups = tomllib.loads(file.read_text())["reason"]
    return {mutant: group["why"] for group in groups for mutant in group["mutants"]}
