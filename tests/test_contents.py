"""What a value is, for keys: whatever computes otherwise is told apart, and what computes alike is not."""

import collections
import copy
import datetime
import decimal
import enum
import functools
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from plait import contents, keying
from plait.contents import describe, network_key, settings
from plait.errors import ConfigError


def told(value):
    return json.dumps(describe(value))


class Scale:
    """An object with state, as a `prepare`."""

    factor = 1

    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x * self.by


class Slotted:
    __slots__ = ("by",)

    def __init__(self, by):
        self.by = by


class Kept:
    """What has been worked out once is no part of what it is."""

    def __init__(self, by):
        self.by = by

    @functools.cached_property
    def twice(self):
        return 2 * self.by


@dataclass
class Nested:
    table: dict = field(default_factory=dict)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def adding(number):
    def add(x):
        return x + number

    return add


def default(number):
    def one(x, by=number):
        return x + by

    return one


def named(number):
    def one(x, *, by=number):
        return x + by

    return one


def decorated(number):
    def decorate(function):
        @functools.wraps(function)
        def call(x):
            return function(x) * number

        return call

    return decorate(abs)


def subclass(number):
    return type("Made", (Scale,), {"factor": number})


def linear(number):
    torch.manual_seed(number)
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU())


def array(number):
    """So long that its `repr` leaves out the middle."""
    values = np.zeros(5000)
    values[2500] = number
    return values


def itself(number):
    made = [number]
    made.append(made)
    return made


def by_global(number):
    space = {"__name__": "tests.made", "NUMBER": number}
    exec("def read(x):\n    return x + NUMBER", space)
    return space["read"]


MAKERS = {
    "bool or number": lambda n: bool(n - 1) if n < 3 else 1.0,
    "number": lambda n: n,
    "float": lambda n: n / 3,
    "text": lambda n: f"text {n}",
    "bytes": lambda n: bytes([n]),
    "list": lambda n: [1, [n]],
    "order of a list": lambda n: [1, 2] if n == 1 else [2, 1],
    "tuple or list": lambda n: [1] if n == 1 else (1,),
    "set": lambda n: {"a", "b", n},
    "nested tables": lambda n: {"a": {"b": [n]}},
    "array": array,
    "array's kind": lambda n: np.zeros(3, np.float32 if n == 1 else np.float64),
    "array's shape": lambda n: np.zeros((n, 2 // n)),
    "array of objects": lambda n: np.array([n, None, "x"], dtype=object),
    "masked array": lambda n: np.ma.array([1, 2], mask=[n == 1, False]),
    "structured array": lambda n: np.array([(n, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "array of times": lambda n: np.array([n], dtype="datetime64[s]"),
    "number with a kind": lambda n: np.float32(1) if n == 1 else np.float64(1),
    "tensor": lambda n: torch.from_numpy(array(n)),
    "tensor's kind": lambda n: torch.zeros(2, dtype=torch.float16 if n == 1 else torch.bfloat16),
    "kind": lambda n: torch.float16 if n == 1 else torch.bfloat16,
    "partial": lambda n: functools.partial(max, n),
    "partial's keyword": lambda n: functools.partial(sorted, key=adding(n)),
    "partial of a partial": lambda n: functools.partial(functools.partial(max, 0), adding(n)),
    "closure": adding,
    "default": default,
    "keyword's default": named,
    "decorator's closure": decorated,
    "function's attribute": lambda n: vars(f := adding(0)).update(n=n) or f,
    "lambda": lambda n: (lambda x: x * 2) if n == 1 else (lambda x: x * 3),
    "operator in a lambda": lambda n: (lambda x: x + 2) if n == 1 else (lambda x: x - 2),
    "name in a lambda": lambda n: (lambda x: x.sum()) if n == 1 else (lambda x: x.mean()),
    "constant of a function within": lambda n: (
        (lambda x: [y * 2 for y in x]) if n == 1 else (lambda x: [y * 3 for y in x])
    ),
    "global": by_global,
    "object": Scale,
    "object in an object": lambda n: Scale(Scale(array(n))),
    "bound method": lambda n: Scale(n).__call__,
    "slots": Slotted,
    "dataclass": lambda n: Nested({"a": {n: 1}}),
    "class attribute": subclass,
    "member": lambda n: Colour(n),
    "date": lambda n: datetime.date(2020, 1, n),
    "decimal": lambda n: decimal.Decimal(n) / 3,
    "pattern": lambda n: re.compile("a" * n),
    "deque": lambda n: collections.deque([n]),
    "default table": lambda n: collections.defaultdict(list if n == 1 else set),
    "ordered table": lambda n: collections.OrderedDict([("a", 1), ("b", 2)][:: 3 - 2 * n]),
    "counter": lambda n: collections.Counter("a" * n),
    "range": range,
    "slice": lambda n: slice(0, n),
    "module": linear,
    "random numbers": lambda n: np.random.default_rng(n),
    "torch's random numbers": lambda n: torch.Generator().manual_seed(n),
    "ufunc": lambda n: np.add if n == 1 else np.multiply,
    "builtin": lambda n: min if n == 1 else max,
    "builtin of something": lambda n: [n].index,
    "holds itself": itself,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_whatever_computes_otherwise_is_told_apart_and_what_is_alike_is_not(make):
    assert told(make(1)) == told(make(1)) != told(make(2))
    assert told(functools.partial(max, make(1))) != told(functools.partial(max, make(2)))
    assert (
        told(Scale({"deep": [make(1)]}))
        == told(Scale({"deep": [make(1)]}))
        != told(Scale({"deep": [make(2)]}))
    )


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def alike(one, other):
    """Equal, and of the same types all through; zeros and orders of tables too."""
    if isinstance(one, dict) and isinstance(other, dict):
        return len(one) == len(other) and all(map(alike, one.items(), other.items()))
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(alike, one, other))
    return type(one) is type(other) and repr(one) == repr(other)


@given(PLAIN, PLAIN)
def test_plain_values_are_told_apart_just_where_they_differ(one, other):
    assert told(one) == told(copy.deepcopy(one))
    assert (told(one) == told(other)) == alike(one, other)


def test_what_was_worked_out_before_and_where_it_lies_do_not_count():
    used = Kept(array(1))
    before = told(used)
    assert used.twice is not None and told(used) == before
    cached = functools.lru_cache(adding(1))
    before = told(cached)
    cached(3)
    assert told(cached) == before
    assert told([used.by, used.by]) == told([used.by, used.by.copy()])


def test_in_settings_tables_have_no_order():
    one, other = {"a": {"x": 1, "y": 2}, "b": 3}, {"b": 3, "a": {"y": 2, "x": 1}}
    assert json.dumps(settings(one), sort_keys=True) == json.dumps(settings(other), sort_keys=True)
    assert settings({"scale": 0.5, "pool": "space"}) == {"scale": 0.5, "pool": "space"}


@pytest.mark.parametrize(
    "wrap", [lambda p: p, str, lambda p: {"a": [str(p)]}, lambda p: functools.partial(max, p)]
)
def test_files_are_told_by_what_they_hold_wherever_they_lie(tmp_path, wrap):
    first, copied, folder = tmp_path / "one.pt", tmp_path / "elsewhere" / "two.pt", tmp_path / "folder"
    copied.parent.mkdir()
    folder.mkdir()
    for path in (first, copied, folder / "inside.json"):
        path.write_bytes(b"content")
    before, whole = told(wrap(first)), told(wrap(folder))
    assert before == told(wrap(copied))
    first.write_bytes(b"another")
    assert told(wrap(first)) != before
    (folder / "inside.json").write_bytes(b"another")
    changed = told(wrap(folder))
    (folder / "inside.json").rename(folder / "renamed.json")
    assert len({whole, changed, told(wrap(folder))}) == 3


def test_a_path_that_also_stands_in_code_is_told_by_what_it_holds_where_it_stands_outside(tmp_path):
    file = tmp_path / "one.pt"
    file.write_bytes(b"content")
    made = {}
    exec(f"def paths():\n    return ({str(file)!r}, 'more')", made)
    value = made["paths"]()
    assert value in made["paths"].__code__.co_consts
    before = told([made["paths"], value])
    file.write_bytes(b"another")
    assert told([made["paths"], value]) != before


def test_a_word_that_a_file_or_a_folder_is_called_by_stays_a_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mean", "flatten"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "video").mkdir()
    assert told("mean") != told("flatten")
    assert settings({"lead": "video"}, {"video"}) == {"lead": "video"}
    assert settings({"sep": "/", "decimal": "."}) == {"sep": "/", "decimal": "."}
    before = told("video")
    (tmp_path / "video" / "a").write_bytes(b"1")
    assert told("video") != before


@pytest.mark.parametrize("held", [threading.Lock(), (n for n in ()), sys.stdout])
def test_what_has_no_content_is_refused_in_a_line(held):
    with pytest.raises(
        ConfigError, match=r"^a Scale holds a \w+, whose content no key can tell; expected plain"
    ):
        describe(Scale(held))


def test_the_same_in_another_process():
    """No address, no order of a set, nothing of the session is in it."""
    code = (
        "import json; from tests.test_contents import *; "
        "print(json.dumps([told(m(1)) for m in MAKERS.values()]))"
    )
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    run, env = [sys.executable, "-c", code], os.environ | {"PYTHONHASHSEED": seed}
    done = subprocess.run(run, capture_output=True, text=True, check=True, env=env)
    assert json.loads(done.stdout) == [told(make(1)) for make in MAKERS.values()]


def test_a_network_is_told_by_all_numbers_that_it_holds():
    def network():
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        made.register_buffer("mean", torch.zeros(2), persistent=False)
        made.scale, made.table, made.file = 1.0, np.zeros(3), "here"
        return made

    def weight(one):
        one[0].weight.data[0, 0] += 1

    before = network_key(network())
    changes = [
        weight,
        lambda one: one[1].running_mean.add_(1),
        lambda one: one.mean.add_(1),
        lambda one: setattr(one, "scale", 2.0),
        lambda one: one.table.__setitem__(0, 1),
        lambda one: setattr(one[1], "eps", 1e-3),
    ]
    for change in changes:
        changed = network()
        change(changed)
        assert network_key(changed) != before
    moved = network()
    moved.file = "there"
    assert network_key(moved) == before


class Holding(nn.Module):
    """A part of somebody's own."""

    def __init__(self, held=None, private=None, place="/here/weights.pt"):
        super().__init__()
        self.held, self._private, self.place, self.lock = held, private, place, threading.Lock()
        self.unlisted = [nn.Linear(1, 1, bias=False)]
        nn.init.ones_(self.unlisted[0].weight)


def test_a_network_of_somebody_s_own_is_told_by_all_that_it_holds():
    before = network_key(Holding())
    assert network_key(Holding()) == before == network_key(Holding(place="/there/weights.pt"))
    assert network_key(Holding(place="weights.pt")) == before == network_key(Holding().eval())
    others = [
        {"gain": 1.0},
        {"gain": 2.0},
        "square",
        "m/s",
        ["a", 1],
        Scale(1),
        Scale(2),
        np.ones(2),
        nn.ReLU(),
    ]
    keys = [network_key(make(one)) for one in others for make in (Holding, functools.partial(Holding, None))]
    assert len({before, *keys}) == 1 + len(keys)
    changed = Holding()
    nn.init.zeros_(changed.unlisted[0].weight)
    assert network_key(changed) != before
    within = nn.Sequential(Holding({"gain": 1.0}))
    assert network_key(within) != network_key(nn.Sequential(Holding({"gain": 2.0})))


FILLED = """
TABLE = {}
LISTED = []
KEPT = {}

%s


def prepare(x):
    KEPT[x] = x
    return x * len(KEPT) * len(TABLE) * len(LISTED)
"""


@pytest.mark.parametrize(
    ("filling", "counts"),
    [
        ("for name in 'ab':\n    TABLE[name] = FACTOR", True),
        ("TABLE.update(a=FACTOR)", True),
        ("LISTED += [FACTOR]", True),
        ("if FACTOR:\n    LISTED.append(FACTOR)", True),
        ("with open(__file__) as file:\n    TABLE.setdefault('a', FACTOR)", True),
        ("def fill():\n    TABLE['a'] = FACTOR\n\n\nfill()", False),  # as one that fills as it is used
        ("OTHER = FACTOR", False),
    ],
)
def test_a_table_that_its_module_fills_counts_and_one_that_fills_as_it_is_used_does_not(
    tmp_path, monkeypatch, filling, counts
):
    monkeypatch.syspath_prepend(str(tmp_path))
    keys = []
    for factor in (1, 2):
        module = f"filled_{abs(hash(filling))}_{factor}"
        (tmp_path / f"{module}.py").write_text(FILLED % filling.replace("FACTOR", str(factor)))
        prepare = importlib.import_module(module).prepare
        before = told(prepare)
        prepare(0)
        assert told(prepare) == before
        keys.append(before.replace(module, ""))
    assert (keys[0] != keys[1]) == counts


MODULE = """
'''A data set of somebody's.'''
import json
from pathlib import Path
import {package}.helper
from {package}.values import SCALE
STATS = json.loads((Path(__file__).parent / "stats.json").read_text())
CACHE = {{}}

def prepare(x):
    '''Shape it.'''
    from {package}.late import late  # when it is needed
    CACHE[len(CACHE)] = x
    return late({package}.helper.helped(x) * SCALE + STATS["mean"])
"""
FILES = {
    "__init__.py": "",
    "main.py": MODULE,
    "helper.py": "def helped(x):\n    return x + 1\n",
    "values.py": "SCALE = 2\n",
    "late.py": "from . import deeper\ndef late(x):\n    return deeper.WAY - x\n",
    "deeper.py": "WAY = 1\n",
    "stats.json": '{"mean": 1.5}',
}


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("main.py", "* SCALE", "/ SCALE", True),
        ("main.py", "'''Shape it.'''", "'''Shape it well.'''  # so", False),
        ("helper.py", "x + 1", "x + 2", True),
        ("helper.py", "x + 1", "(x + 1)  # one", False),
        ("values.py", "2", "3", True),
        ("late.py", "- x", "+ x", True),
        ("deeper.py", "1", "2", True),
        ("stats.json", "1.5", "1.25", True),
        ("stats.json", "1.5", "1.50", False),
    ],
)
def test_code_is_told_with_all_that_it_reads_of_the_user_s(tmp_path, monkeypatch, file, old, new, changes):
    monkeypatch.syspath_prepend(tmp_path)

    def key(files, package):
        (tmp_path / package).mkdir()
        for name, text in files.items():
            (tmp_path / package / name).write_text(text.replace("{package}", package).replace("{{}}", "{}"))
        prepare = importlib.import_module(f"{package}.main").prepare
        before = json.dumps([describe(prepare), keying.source_key([prepare])])
        assert prepare(1) is not None  # which fills its cache and imports what it is late with
        after = json.dumps([describe(prepare), keying.source_key([prepare])])
        assert before == after
        for module in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[module]
        shutil.rmtree(tmp_path / package)
        importlib.invalidate_caches()
        return before

    package = f"scratch_{abs(hash((file, new))) % 10**8}"
    assert old in FILES[file]
    one, other = key(FILES, package), key({**FILES, file: FILES[file].replace(old, new)}, package)
    assert (one != other) == changes


def test_what_is_installed_counts_by_its_version(monkeypatch):
    def key():
        return keying.source_key([np.add, nn.Linear, sklearn.preprocessing.StandardScaler])

    import sklearn.preprocessing

    before, version = key(), importlib.metadata.version
    for package in ("numpy", "torch", "scikit-learn"):
        with monkeypatch.context() as patch:
            patch.setattr(importlib.metadata, "version", lambda n, own=package: version(n) + "+" * (n == own))
            keying._version.cache_clear()
            assert key() != before, package
        keying._version.cache_clear()
    assert key() == before


def test_modules_of_all_that_things_are_made_of():
    assert "tests.test_contents" in contents.modules([functools.partial(max, [Scale(adding(1))])])
