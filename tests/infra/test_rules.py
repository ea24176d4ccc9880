"""The shipped template keeps every rule, and the outside checker, where there is one, finds nothing."""

from __future__ import annotations

import pytest

from tests.infra.checker import checked, needs_checker
from tests.infra.deployment import ROOT, Deployment
from tests.infra.rules import RULES, Rule

SHIPPED = Deployment(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_template_keeps_the_rule(rule: Rule):
    assert list(rule(SHIPPED)) == []


def test_there_is_something_to_hold_rules_to():
    assert len(RULES) > 30
    assert len(SHIPPED.files) > 15
    assert sum(1 for _ in SHIPPED.resources()) > 30


@needs_checker
def test_azures_own_types_agree_with_the_template():
    assert checked([SHIPPED]) == [[]]
