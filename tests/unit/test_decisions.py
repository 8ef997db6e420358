"""The index of decisions names every page, by its number and title."""

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "decisions"
ROW = re.compile(r"\| \[(\d+)\]\(([^)]+)\) \| (.+?) \| (.+?) \|")
TITLE = re.compile(r"# 0*(\d+)\.? (.+)")


def test_the_index_names_every_decision_in_order() -> None:
    rows = map(ROW.fullmatch, (FOLDER / "README.md").read_text().splitlines())
    indexed = [(row[1], row[2], row[3]) for row in rows if row is not None]
    pages = []
    for page in sorted(FOLDER.glob("0*.md")):
        title = TITLE.fullmatch(page.read_text().splitlines()[0])
        assert title is not None, page.name
        assert int(page.name[:4]) == int(title[1]), page.name
        pages.append((title[1], page.name, title[2]))
    assert indexed == pages
