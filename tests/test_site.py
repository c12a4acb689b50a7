"""The site's pages: every link and anchor leads somewhere; the reference has what users rely on.

`make docs` builds all of it; here the reference is laid out and not rendered, which takes the longest.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import plait
from plait.objects import resolve

ROOT = Path(__file__).parent.parent
RELIED_ON = [  # names of the design that studies and programs use
    *(f"plait.types:{name}" for name in ("Stream", "Readings", "Span", "Recording", "Modality", "Dataset")),
    *(f"plait.fusion:{name}" for name in ("NonLocal", "Led", "Symmetric", "Concat", "Single", "Reads")),
    "plait:run",
    "plait:Recogniser",
    "plait.clips:open_clips",
    "plait.clips:LazyClips",
    "plait.encoders.grid:GridNet",
    "plait.encoders.glove:SignalNet",
    "plait.encoders.standardise:Standardise",
    "plait.pretrained:efficientnet_lite0",
    "plait.datasets.published:Benchmark",
    "plait.datasets.utd_mhad:UTD_MHAD",
]
DOCUMENTS = [ROOT / "README.md", *ROOT.glob("C*.md"), ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]


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
    for nothing in ("nowhere.md", "../../tests", "../../../x.md"):
        with pytest.raises(SystemExit, match="a link to nothing"):
            pages.linked(f"[x]({nothing})", page, "how-to/clock.md")


def test_every_room_has_a_page(pages):
    rooms = pages.rooms()
    assert {"fusion", "types", "cli"} <= set(rooms) and "__init__" not in rooms
    assert "::: plait.fusion.nonlocal_\n" in rooms["fusion"] and "::: plait.types\n" in rooms["types"]


def test_what_is_relied_on_is_in_the_reference(pages):
    text = "".join(pages.rooms().values())
    for name in RELIED_ON:
        thing = resolve(name, "name")
        if isinstance(thing, type) or callable(thing):
            assert f"::: {thing.__module__}\n" in text and thing.__doc__, name
        else:
            assert f"::: {name.partition(':')[0]}\n" in text, name


def test_a_file_that_is_named_is_a_link(pages):
    page, named = ROOT / "docs" / "report.md", "`plait run studies/mex.toml`"
    text = "Take {}, `studies/*.toml` or `studies/`.\n"
    led = text.format(f"[{named}](reference/studies.md#mextoml)")
    assert pages.linked(text.format(named), page, "report.md") == led
    for as_it_is in ("# `studies/mex.toml`", "[`studies/mex.toml`](report.md)", "``studies/mex.toml``"):
        assert pages.linked(as_it_is, page, "report.md") == as_it_is
    with pytest.raises(SystemExit, match=r"benchmarks/none.py.*no such file"):
        pages.linked("`python benchmarks/none.py`", page, "report.md")


def test_the_site_builds_strictly_and_says_its_version(pages, tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed: plait[docs]")
    pages.lay_out(tmp_path)
    settings = yaml.safe_load((tmp_path / "mkdocs.yml").read_text(encoding="utf-8")) | {"plugins": []}
    settings["markdown_extensions"]["pymdownx.highlight"] = {"use_pygments": False}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    words = [
        "-m",
        "mkdocs",
        "build",
        "-q",
        "--strict",
        "-f",
        tmp_path / "mkdocs.yml",
        "-d",
        tmp_path / "site",
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert f"plait {plait.__version__}" in home
    loaded = re.findall(r'(?:\ssrc=|<link[^>]*\shref=)"(\w+:[^"]*|//[^"]*)"', home)
    assert not loaded, "from other hosts"
