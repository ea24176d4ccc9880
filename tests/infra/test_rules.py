"""The shipped template keeps every rule, and the outside checker, where there is one, finds nothing."""

from __future__ import annotations

import re

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


def test_the_guide_says_what_to_do_for_each_alert():
    text = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    section = text.partition("## Alerts")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)
    assert sorted(told) == sorted(SHIPPED.json("runbooks.json"))
    for name, runbook in SHIPPED.json("runbooks.json").items():
        text = (ROOT / "docs" / "runbooks" / f"{runbook}.md").read_text(encoding="utf-8")
        symptom = text.partition("**Query.**")[0]
        assert re.search(rf"\bAlert [^.;]*`{name}`", symptom, re.IGNORECASE), (
            f"{runbook} does not name {name}"
        )


def test_the_guide_has_every_variable_that_azd_reads():
    text = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    read = re.findall(r"\$\{((?:MOORING|VNET)_\w+)", SHIPPED.text("main.parameters.json"))
    assert [name for name in read if f"`{name}`" not in text] == []
    assert len(read) > 15


@needs_checker
def test_azures_own_types_agree_with_the_template():
    assert checked([SHIPPED]) == [[]]
