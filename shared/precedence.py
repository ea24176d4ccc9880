"""Which operation waits for which: one table, a row for the newcomer, a column for what is under way.

``docs/reference/precedence.md`` shows it to people; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from shared.models import Kind


class Decision(StrEnum):
    """What happens to a newcomer."""

    ATTACH = "attach"
    """The same thing is under way already: the newcomer is that operation."""
    OVERTAKE = "overtake"
    """What is under way is superseded."""
    WAIT = "wait"
    """The newcomer opens, and begins when what is under way has ended."""
    BESIDE = "beside"
    """Neither disturbs the other."""
    YIELD = "yield"
    """The newcomer is not needed, or can be asked for again: nothing is opened."""


_C, _D, _P, _V, _R, _U = Kind.CREATE, Kind.DELETE, Kind.PRUNE, Kind.VALIDATE, Kind.REPAIR, Kind.RESTORE
_A, _O, _W, _B, _Y = Decision.ATTACH, Decision.OVERTAKE, Decision.WAIT, Decision.BESIDE, Decision.YIELD

TABLE: Mapping[Kind, Mapping[Kind, Decision]] = {
    #  under way:   create  delete  prune   validate repair  restore
    _C: {_C: _A, _D: _W, _P: _W, _V: _B, _R: _O, _U: _O},
    _D: {_C: _O, _D: _A, _P: _O, _V: _B, _R: _O, _U: _O},
    _P: {_C: _W, _D: _Y, _P: _A, _V: _B, _R: _W, _U: _O},
    _V: {_C: _B, _D: _B, _P: _B, _V: _B, _R: _B, _U: _B},
    _R: {_C: _Y, _D: _Y, _P: _Y, _V: _B, _R: _A, _U: _Y},
    _U: {_C: _Y, _D: _Y, _P: _Y, _V: _B, _R: _Y, _U: _A},
}


def decide(newcomer: Kind, under_way: Kind) -> Decision:
    """What happens to ``newcomer`` while ``under_way`` has not ended."""
    return TABLE[newcomer][under_way]
