"""Processes that work for another one: none of them computes what that one's keys do not say."""

import importlib
import os
import re
import sys
from functools import partial

import pytest

from plait import keying as keys
from plait import source
from plait.compute import alike
from plait.compute.alike import _bound, bound, meet, terms
from plait.compute.crew import Crew
from plait.compute.executors import Work, processes
from plait.errors import ConfigError, PlaitError
from plait.keying import Keyed, keyed, keying, source_key
from plait.study import run
from plait.study.run import run_study
from tests import tiny
from tests.test_keys import elsewhere


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of somebody's own, and where it lies; it imports another one, and a third as it runs."""
    name = f"mine{abs(hash(tmp_path)) % 10**8}"
    files = {part: tmp_path / f"{name}{part}.py" for part in ("", "_other", "_late")}
    files[""].write_text(
        f"import {name}_other\n\ndef use():\n    import {name}_late\n    return {name}_other.VALUE\n"
    )
    files["_other"].write_text("VALUE = 1\n")
    files["_late"].write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(alike, "_met", [])
    return importlib.import_module(name), files


def asked_for(thing):
    """What a process has to meet that does what a key of `thing` says."""
    with keying():
        source_key([thing])
        return terms("cpu")


@pytest.mark.parametrize("part", ["", "_other", "_late"])
@pytest.mark.parametrize(
    "change, other",
    [
        (lambda text: text + "\nMORE = 2\n", True),
        (lambda text: "def more():\n    return 2\n\n" + text, True),
        (lambda text: text + "\n# said differently\n", False),
        (lambda text: text, False),
    ],
)
def test_code_that_was_changed_since_the_key_was_made_is_refused(mine, part, change, other):
    module, files = mine
    asked = asked_for(module.use)
    meet(asked)
    alike._met.clear()
    before = files[part].stat()
    files[part].write_text(change(files[part].read_text()))
    os.utime(files[part], ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    if not other:
        meet(asked)
        return
    with pytest.raises(PlaitError, match=rf"^{files[part]}: is no longer what it was when this run began"):
        meet(asked)
    assert not alike._met  # nor is it taken the second time


def test_code_that_was_changed_since_this_process_loaded_it_is_refused_until_it_is_loaded_again(mine):
    """As in a notebook: a module is edited between two runs, and what is loaded is still the old one."""
    module, files = mine
    asked_for(module.use)
    files["_other"].write_text("VALUE = 22\n")
    source_key([module.use])  # nothing is about to run
    with pytest.raises(ConfigError, match=rf"^{files['_other']}: was changed since this process loaded it"):
        asked_for(module.use)
    importlib.reload(importlib.import_module(f"{module.__name__}_other"))
    asked_for(module.use)
    files["_late"].write_text("VALUE = 22\n")  # which is not loaded yet
    asked_for(module.use)


def test_what_a_worker_makes_keys_of_is_the_code_that_it_met(mine):
    module, files = mine

    def do():
        before = source_key([module.use])
        files["_other"].write_text("VALUE = 333\n")
        return before, source_key([module.use])

    with keying():
        theirs = source_key([module.use])
        work = bound(do)
    assert work() == (theirs, theirs) and source_key([module.use]) != theirs


def test_a_worker_that_has_served_another_run_is_refused_if_it_still_holds_that_one_s_code(mine):
    module, files = mine
    meet(asked_for(module.use))
    files["_other"].write_text("VALUE = 4444\n")
    asked = asked_for_elsewhere(module.use)
    with pytest.raises(PlaitError, match=rf"^{files['_other']}: was changed since this process loaded it"):
        meet(asked)
    importlib.reload(sys.modules[f"{module.__name__}_other"])
    meet(asked)


def asked_for_elsewhere(thing):
    """The same, of a process that has loaded everything by now."""
    loaded = dict(keys._loaded)
    keys._loaded.clear()
    try:
        return asked_for(thing)
    finally:
        keys._loaded.clear()
        keys._loaded.update(loaded)


def test_a_file_of_the_same_time_and_size_is_the_same_on_one_machine_only(mine):
    module, files = mine
    asked, before = asked_for(module.use), files["_other"].stat()
    files["_other"].write_text("VALUE = 9\n")
    os.utime(files["_other"], ns=(before.st_atime_ns, before.st_mtime_ns))
    meet(asked)
    source.syntax.cache_clear()  # of another process, which had not read that file
    alike._met.clear()
    with pytest.raises(PlaitError, match="is no longer what it was when this run began .on "):
        meet(asked._replace(machine=("elsewhere", "")))


def test_a_package_that_is_imported_as_it_is_needed_is_of_the_version_in_the_key(mine):
    package = next(name for name in sorted(keys._distributions()) if name not in sys.modules)
    asked = asked_for(mine[0].use)
    with pytest.raises(
        PlaitError, match=rf"^{package}: got .*, expected {package} 0\.0\.1, as when this run"
    ):
        meet(asked._replace(code={**asked.code, package: Keyed(f"{package} 0.0.1")}))


def test_the_script_that_a_worker_was_started_with_is_the_one_in_the_key(mine, monkeypatch):
    module, files = mine
    asked = asked_for(module.use)
    script = asked.code[module.__name__]
    asked = asked._replace(code={**asked.code, "__main__": script})
    monkeypatch.delitem(sys.modules, "__mp_main__", raising=False)
    meet(asked)  # as on a node, which has none
    alike._met.clear()
    monkeypatch.setitem(sys.modules, "__mp_main__", module)
    meet(asked)
    alike._met.clear()
    files[""].write_text("def use():\n    return 6\n")
    asked.code.pop(module.__name__)
    with pytest.raises(PlaitError, match=rf"^{files['']}: is no longer what it was"):
        meet(asked)


@pytest.mark.parametrize("repeats", [(False, False), (True, True), (True, False)])
def test_a_worker_takes_algorithms_that_repeat_where_they_were_asked_for(mine, repeats):
    asked = asked_for(mine[0].use)
    switch = asked.numerics["switches"][1]
    changed = {**asked.numerics, "switches": [*asked.numerics["switches"]]}
    changed["switches"][1] = repeats[0]
    told = []
    asked = asked._replace(repeats=repeats, numerics=changed)
    _bound(asked, lambda: told.append(alike._repeats()))
    assert told == [repeats] and alike._repeats()[0] == switch


def test_what_is_not_there_is_left_to_whoever_needs_it(mine):
    module, files = mine
    asked = asked_for(module.use)
    files["_late"].unlink()
    meet(asked)
    alike._met.clear()
    unknown = f"{module.__name__}_elsewhere"
    meet(asked._replace(code={**asked.code, unknown: Keyed("1", files["_late"], (0, 1), loaded=True)}))


def test_code_that_no_longer_loads_is_refused(mine, monkeypatch):
    module, files = mine
    asked = asked_for(module.use)
    monkeypatch.delitem(sys.modules, f"{module.__name__}_other")
    files["_other"].write_text("VALUE = = 2")
    with pytest.raises(PlaitError, match=rf"^{files['_other']}: is no longer what it was"):
        meet(asked)


def test_every_setting_of_a_machine_that_decides_digits_is_asked_for(monkeypatch):
    monkeypatch.setattr(alike, "_met", [])
    asked = asked_for(tiny.Linear)
    refused = []
    for name in elsewhere(monkeypatch):
        alike._met.clear()
        try:
            meet(asked)
        except PlaitError as error:
            refused.append((name, str(error)))
    said = dict(refused)
    assert len(said) >= 12 and re.search(r"got torch .*\+, expected torch 2", said["torch's version"])
    assert "would come to other last digits" in said["processor"] and "'Other'" in said["processor"]
    assert "the kind of numbers" not in said and "av's version" not in said  # settled, and of no key's


WORK = """
import importlib

def note(piece, out, file, name):
    '''Write down what a module says, then have somebody change it.'''
    value = importlib.import_module(name).VALUE
    file.write_text("VALUE = 5\\n")
    (out / piece).mkdir()
    (out / piece / "value").write_text(str(value))

def told(name, item, more):
    return importlib.import_module(name).VALUE
"""


def work(out, do):
    parts = {"leaves": str, "label": str, "cost": lambda piece: 1.0, "needs": lambda piece: ()}
    return Work(out, do, reads=lambda piece: (), moved=lambda piece, where: piece, **parts)


@pytest.mark.slow
def test_a_worker_loads_at_its_start_what_it_will_need_and_begins_with_no_other_code(mine, tmp_path):
    module, files = mine
    name, own = f"{module.__name__}_other", f"{module.__name__}_work"
    (tmp_path / f"{own}.py").write_text(WORK)
    doing = importlib.import_module(own)
    here = work(tmp_path, partial(doing.note, file=files["_other"], name=name))
    with keying():
        source_key([module.use])
        with processes(here, 1, 1, "cpu") as pool:
            for piece in ("a", "b"):
                pool.start(piece).result()
        assert [(tmp_path / piece / "value").read_text() for piece in "ab"] == ["1", "1"]
        with (
            processes(here, 1, 1, "cpu") as pool,
            pytest.raises(PlaitError, match="is no longer what it was"),
        ):
            pool.start("c").result()
        with pytest.raises(PlaitError, match="is no longer what it was"):
            Crew(1).each(partial(doing.told, name), ["d"])
    assert not (tmp_path / "c").exists()


def test_a_study_s_workers_are_asked_for_what_its_methods_are_made_of(tmp_path, monkeypatch):
    seen = []
    workers_of = run.workers_of

    def noting(*args, **kwargs):
        seen.append(keyed())
        return workers_of(*args, **kwargs)

    monkeypatch.setattr(run, "workers_of", noting)
    run_study(tiny.study(), None, tmp_path / "run")
    assert {"tests.tiny", "plait.training.fit", "plait.fusion.led", "torch"} <= set(seen[0])
    assert keyed() == {}


def test_a_key_is_the_same_while_a_run_is_planned(mine):
    things = [mine[0].use, run_study, tiny.Linear, Crew]
    asked = [*([one] for one in things), things, things[::-1]]
    alone = [source_key(some) for some in asked]
    with keying():
        assert [source_key(some) for some in asked] == alone
        assert [source_key(some) for some in asked] == alone
    assert len(set(alone)) == len(alone) - 1
