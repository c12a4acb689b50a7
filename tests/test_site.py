"""The site's pages: every link of the documents leads to one; `make docs` builds them, looks at anchors."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_link_leads_to_a_page(pages):
    for file in DOCUMENTS:
        pages.linked(file.read_text(encoding="utf-8"), file, pages.place(file)[0])


def test_links_follow_their_targets(pages):
    page = ROOT / "docs" / "how-to" / "clock.md"
    code = "\n```sh\n[d](nowhere)\n```"
    text = f"[a](../../README.md) [b](../report.md#clips) [c](../../examples/own_data.py){code}"
    led = f"[a](../overview.md) [b](../report.md#clips) [c](../examples.md#own_datapy){code}"
    assert pages.linked(text, page, "how-to/clock.md") == led
    for nothing in ("nowhere.md", "../../pyproject.toml", "../../../x.md"):
        with pytest.raises(SystemExit, match="a link to nothing"):
            pages.linked(f"[x]({nothing})", page, "how-to/clock.md")


def test_every_room_has_a_page(pages):
    rooms = pages.rooms()
    assert {"fusion", "types", "cli"} <= set(rooms) and "__init__" not in rooms
    assert "::: plait.fusion.nonlocal_\n" in rooms["fusion"] and "::: plait.types\n" in rooms["types"]
