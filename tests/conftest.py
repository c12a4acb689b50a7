"""Shapes in signatures are checked in every test; property tests are repeatable and have no deadline.

No test depends on another: each begins with the same switches and draws, and fails if it leaves a switch
otherwise.
"""

import gc
import os
import signal
import sys
import tempfile

import pytest
import torch
from hypothesis import settings

from plait.compute.machine import cores
from tests import shapes
from tests.state import changed, draw_alike, forget_modules, switches

shapes.check_shapes()
settings.register_profile("plait", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("plait")
torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what is started in the background ignores it
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The first wait more than they compute, most of it for clocks and other processes; the others take long, and
# whoever is through with the rest would wait for them in the end.
EARLY = (
    "tests/test_benchmarks.py::test_hour_and_live",
    "tests/compute/test_cluster.py",
    "tests/live/test_lsl.py",
    "tests/test_benchmarks.py::test_clocks",
    "tests/live/test_cameras.py",
    "tests/live/test_page",
    "tests/live/test_command.py",
    "tests/report/test_serve.py",
    "tests/fuzz/test_disk.py",
    "tests/recogniser/test_recogniser.py",
    "tests/recogniser/test_page.py",
    "tests/recogniser/test_fused.py",
    "tests/recogniser/test_same_scores.py",
    "tests/robustness/",
    "tests/test_demo.py",
    "tests/test_features.py",
    "tests/test_benchmarks.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """After their order was drawn, some are one process's first, while others do the rest."""
    rest = len(EARLY)
    items.sort(key=lambda one: next((n for n, at in enumerate(EARLY) if one.nodeid.startswith(at)), rest))


def pytest_collection_finish():
    """What is loaded by now stays: who looks for circles need not look at all of torch again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One process more than there are cores, for one waits."""
    return cores() + 1


def left_as_found():
    """A fixture that goes on, and fails if a switch is not as it was before."""
    before = switches()
    yield
    left = changed(before, switches())
    assert not left, "left to the next test: " + "; ".join(left)


@pytest.fixture(autouse=True, scope="module")
def _module_leaves_nothing(request, tmp_path_factory):
    """Fixtures of a module leave nothing to the next, not even in the user's cache, nor do their modules."""
    shapes.begin(request.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", tempfile.mkdtemp("", "cache", tmp_path_factory.getbasetemp()))
        yield from left_as_found()
    forget_modules(tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def _leaves_nothing(request):
    """A test leaves nothing to the next one, and draws as if it were alone."""
    draw_alike()
    shapes.begin(request.path)
    yield from left_as_found()


@pytest.fixture(autouse=True)
def _own_cache(_leaves_nothing, tmp_path_factory, monkeypatch):
    """What a test caches is its own: none reads or leaves anything in the user's cache."""
    monkeypatch.setenv("PLAIT_CACHE", tempfile.mkdtemp("", "cache", tmp_path_factory.getbasetemp()))


@pytest.fixture(autouse=True, scope="session")
def whole_figures():
    """How figures become SVG and PDF; tests that look at none do without, unless they use `svg` or `pdf`."""
    from plait.report import drawing  # not before the import hook
    from tests.figures import blank

    with pytest.MonkeyPatch.context() as patch:
        whole = drawing._save
        patch.setattr(drawing, "_save", blank)
        yield whole


@pytest.fixture(autouse=True, scope="session")
def whole_sync_pictures():
    """How the pictures are drawn by which people judge synchronisation; most tests do without."""
    from plait.recordings import sync_picture  # not before the import hook
    from tests.figures import no_picture

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plait.recordings.synchronise.draw", no_picture)
        yield sync_picture.draw


@pytest.fixture
def sync_pictures(whole_sync_pictures, monkeypatch):
    """The pictures are drawn by which people judge synchronisation."""
    monkeypatch.setattr("plait.recordings.synchronise.draw", whole_sync_pictures)


@pytest.fixture(autouse=True, scope="session")
def on_disk():
    """How a file gets onto the disk: nobody cuts the power here, so that tests do not wait for that."""
    with pytest.MonkeyPatch.context() as patch:
        sync = os.fsync
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield sync


@pytest.fixture
def svg(whole_figures, monkeypatch):
    """Figures are drawn, as SVG."""
    from tests.figures import drawn_as_svg  # not before the import hook

    drawn_as_svg(whole_figures, monkeypatch)


@pytest.fixture
def pdf(whole_figures, monkeypatch):
    """Figures are drawn, as SVG and as PDF."""
    monkeypatch.setattr("plait.report.drawing._save", whole_figures)


@pytest.fixture
def plait(tmp_path, monkeypatch, capsys):
    """Runs a command in `tmp_path`: its exit code, and what it said on either stream."""
    from plait import cli

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["plait", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def quick_workers(monkeypatch):
    """Worker processes are forked from a server that has loaded torch, where spawning them is not asked."""
    from tests.commands import workers_of_server  # not before the import hook

    workers_of_server(monkeypatch)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A tab of a browser, for a module that needs one (`tests.report.browser.needs_browser`)."""
    from tests.report.browser import browser_tab  # not before the import hook

    with browser_tab(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(browser):
    """A tab whose page must have complained of nothing in the end."""
    browser.complaints.clear()
    yield browser
    browser.open("about:blank", 800)
    assert browser.complaints == []
