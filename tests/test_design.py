"""`docs/design.md` lists every room and module as it is."""

import importlib
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "plait"
DESIGN = SOURCE.parent.parent / "docs" / "design.md"


def listed():
    """Modules by room, as the table of rooms names them."""
    rows = re.findall(
        r"^\| (`.+?) \| (.+) \|$", DESIGN.read_text().partition("**One recording")[0], re.MULTILINE
    )
    rooms = {}
    for room, said in rows:
        for name in re.findall(r"`([^`]+)`", room):
            rooms[name] = set(re.findall(r"`([a-z_0-9]+/?)`", said)) if name.endswith("/") else None
    return rooms


def test_every_room_and_module_is_listed():
    rooms = listed()
    there = {path.name + ("/" if path.is_dir() else "") for path in SOURCE.iterdir()}
    named = {name for name in there if not name.startswith("__") and (name.endswith(("/", ".py")))}
    assert rooms.keys() == named
    for room, said in rooms.items():
        if said is None:
            continue
        inside = {path.stem for path in (SOURCE / room).rglob("*.py") if path.stem != "__init__"}
        folders = {f"{path.name}/" for path in (SOURCE / room).iterdir() if (path / "__init__.py").is_file()}
        assert said == inside | folders, room


def named(path):
    """The object or module that a dotted name stands for."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(path)


@pytest.mark.parametrize(
    "file", sorted([*DESIGN.parent.glob("*.md"), DESIGN.parent.parent / "README.md"]), ids=str
)
def test_whatever_documents_name_of_plait_is_there(file):
    names = re.findall(r"`(plait(?:[.:]\w+)+)`", file.read_text())
    for name in names:
        assert named(name.replace(":", ".")) is not None
