"""Links between pages lead somewhere, and nothing is loaded from elsewhere."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors, links, pages


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there, and a heading in it."""
    broken = [link for link in links(page) if not leads_somewhere(page, link)]

    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    """Tell whether a link's file and heading exist."""
    file, _, heading = link.partition("#")
    target = (page.parent / file) if file else page
    return target.exists() and (not heading or heading in anchors(target))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_loaded_from_elsewhere(page: Path) -> None:
    """No page embeds an image or a script of another host."""
    text = page.read_text()

    assert "<img" not in text
    assert "<script" not in text
    assert "![" not in text


def test_every_page_is_reachable_from_the_readme() -> None:
    """Whoever begins at the README finds every page under docs/."""
    found: set[Path] = set()
    new = {ROOT / "README.md"}
    while new:
        page = new.pop()
        found.add(page)
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links(page)}
        new |= {target for target in targets if target.suffix == ".md" and target not in found}

    assert set(pages()) - found == set()
