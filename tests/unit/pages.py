"""The pages of the documents, and what stands in their tables."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
SETTINGS_PAGE = REFERENCE / "settings.md"
TARGETS_PAGE = REFERENCE / "targets.md"
BEGIN, END = "<!-- begin generated -->\n", "<!-- end generated -->"
SKIPPED_FOLDERS = {".venv", "node_modules", ".sandbox", ".git", ".pytest_cache"}
CODE = re.compile(r"[a-z]+(-[a-z0-9]+)*")


def pages() -> list[Path]:
    """Every page, below any folder of the project's own."""
    found = ROOT.rglob("*.md")
    return sorted(page for page in found if not SKIPPED_FOLDERS & set(page.relative_to(ROOT).parts))


def table_rows(page: Path, heading: str = "") -> list[list[str]]:
    """Cells of every table row below a heading (up to the next of any level), header rows left out."""
    text = page.read_text(encoding="utf-8")
    if heading:
        text = re.split(r"^#+ ", text.split(f"\n{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = text.splitlines()
    cells = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for index, line in enumerate(lines)
        if line.startswith("|")
        and index + 1 < len(lines)
        and not set(line) <= set("|-: ")
        # a row that is followed by the dashes is a header
        and not (set(lines[index + 1]) <= set("|-: ") and lines[index + 1].startswith("|"))
    ]
    return [*cells, *([_last(lines)] if _last(lines) else [])]


def _last(lines: list[str]) -> list[str]:
    if lines and lines[-1].startswith("|"):
        return [cell.strip() for cell in lines[-1].strip().strip("|").split("|")]
    return []


def first_cells(page: Path, heading: str = "") -> set[str]:
    """Names in backticks in the first cell of every table row."""
    return {name for row in table_rows(page, heading) for name in re.findall(r"`([^`]+)`", row[0])}
