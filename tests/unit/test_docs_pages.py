"""Links are followed, the index is whole, and no page names somebody's machine."""

import re
import tomllib
from pathlib import Path

from tests.unit.pages import ROOT, pages


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"src(?:set)?=\"([^\"]+)\"", text)


def test_every_relative_link_leads_somewhere():
    broken = []
    for page in pages():
        for link in links(page):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = page if not path else (page.parent / path).resolve()
            there = target.exists() and (not anchor or target.suffix != ".md" or anchor in anchors(target))
            broken += [] if there else [f"{page.relative_to(ROOT)}: {link}"]
    assert broken == []


def test_there_are_links_to_follow():
    assert sum(len(links(page)) for page in pages()) > 30


def test_every_page_below_docs_is_in_its_index():
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    docs = ROOT / "docs"
    below = [page for page in pages() if docs in page.parents and page.name != "README.md"]
    assert [page.name for page in below if f"({page.relative_to(docs)})" not in text] == []


def test_every_make_target_that_is_named_exists():
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        name
        for page in pages()
        for name in re.findall(r"(?:`|^|\$ )make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {"demo", "test"} <= named <= known


def test_what_can_be_made_is_where_a_contributor_looks():
    made = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in made if name != "help" and f"make {name}" not in text] == []


def test_a_fall_of_coverage_is_a_failure():
    made = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ntest: ")[2].partition("\n\n")[0]
    measured, _, judged = made.partition(" --cov ")
    assert "coverage report --include='shared/*' --fail-under=95" in judged, measured
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert config["tool"]["coverage"]["run"]["branch"] is True


def test_no_page_names_a_place_on_somebodys_machine():
    place = re.compile(r"(?<![\w.}\]/])/(?:home|work|root|Users|tmp|mnt|opt|private)/|[A-Z]:\\\\")
    found = [
        f"{page.relative_to(ROOT)}: {line}"
        for page in pages()
        for line in page.read_text(encoding="utf-8").splitlines()
        if place.search(line)
    ]
    assert found == []
