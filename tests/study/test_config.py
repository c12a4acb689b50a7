from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from plait.errors import ConfigError, PlaitError, PlaitWarning
from plait.objects import resolve
from plait.study.load import load_study
from tests import tiny


def test_defaults_are_the_paper_s_recipe():
    study = load_study(tiny.study(train={}, seeds=[0]))
    train = study.training("a")
    assert (train.optimizer, train.args) == ("torch.optim:RMSprop", {"lr": 1e-3, "alpha": 0.9, "eps": 1e-7})
    assert (train.batch_size, train.patience, train.label_smoothing, train.choose) == (8, 20, 0.0, "best")
    assert study.protocol.kind == "leave-one-subject-out"


def test_args_not_named_keep_the_paper_s_value_under_the_same_optimizer():
    study = load_study(tiny.study(train={"args": {"lr": 0.1}}))
    assert study.train.args == {"lr": 0.1, "alpha": 0.9, "eps": 1e-7}
    study = load_study(tiny.study(train={"optimizer": "torch.optim:Adam", "args": {"lr": 0.1}}))
    assert study.train.args == {"lr": 0.1}


def test_a_method_overrides_the_study():
    study = load_study(tiny.study(), ["methods.a.train.patience=3", "methods.a.train.args.alpha=0.5"])
    assert (study.training("a").patience, study.training("b").patience) == (3, 20)
    assert study.training("a").args == {"lr": 0.01, "alpha": 0.5, "eps": 1e-7}


def test_modalities_are_filled_in():
    methods = load_study(tiny.study()).methods
    assert methods["a"].modalities == ("a",)
    assert methods["average"].modalities == ("a", "b")
    assert methods["a-led"].modalities == ("a", "b")


def test_set_takes_toml_or_else_a_string():
    sets = ["seeds=[3, 4]", "name=other name"]
    sets += ["protocol.kind=fixed", "protocol.train=[1, 2]", "protocol.val=['3']"]
    study = load_study(tiny.study(), sets)
    assert (study.seeds, study.name, study.protocol.train) == ((3, 4), "other name", ("1", "2"))


def test_a_sweep_makes_a_row_for_each_value():
    study = load_study(tiny.study(), ["methods.a-led.sweep.embedding=[3, 13]"])
    swept = [name for name in study.methods if name.startswith("a-led")]
    assert swept == ["a-led[embedding=3]", "a-led[embedding=13]"]
    assert study.methods["a-led[embedding=13]"].args == {"lead": "a", "embedding": 13}


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["train.patiense=3"], "train.patiense: unknown key, did you mean 'patience'?"),
        (["methods.a-led.arg.lead=b"], "methods.a-led.arg: unknown key, did you mean 'args'?"),
        (["protocol.refit=perhaps"], "protocol.refit: got 'perhaps'"),
        (["train.batch_size=0"], "train.batch_size: got 0"),
        (["methods.a.train.lr=1"], "methods.a.train.lr: unknown key"),
        (["methods.new.args.lead=a"], "methods.new: expected exactly one of 'use', 'average', "
         "'mixture', 'stack', 'first' and 'ensemble'"),
        (["methods.a.average=[\"b\"]"], "methods.a: expected exactly one of 'use', 'average', "
         "'mixture', 'stack', 'first' and 'ensemble'"),
        (["methods.average.average=[\"a\", \"c\"]"],
         "no trained method 'c', expected some of: a, b, concat, a-led"),
        (["methods.average.average=[\"a\"]"], "expected two methods or more"),
        (["methods.average.args.head=mean"], "an average trains no network, so it takes no 'args'"),
        (["methods.a-led.modalities=[\"a\", \"c\"]"], "unknown modality 'c', expected one of: a, b"),
        (["methods.a.augment.b=x:y"], "unknown modality 'b', expected one of: a"),
        (["seeds=[]"], "seeds: got []"),
        (["seeds=[1, 1]"], "each once"),
        (["seeds"], "expected key.path=value"),
        (["name.first=x"], "'name' holds a value, expected a table"),
        (["modalities=[]"], "modalities: got []"),
    ],
)  # fmt: skip
def test_mistakes_are_named_in_one_line(sets, message):
    with pytest.raises(ConfigError) as caught:
        load_study(tiny.study(), sets)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="none.toml: cannot be read: No such file"):
        load_study(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(ConfigError, match="broken.toml: not a TOML file"):
        load_study(broken)
    broken.write_text(tomli_w.dumps(tiny.study()).replace("[train]", "[trian]"))
    with pytest.raises(ConfigError, match="broken.toml: trian: unknown key, did you mean 'train'?"):
        load_study(broken)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_study_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "study.toml"
    path.write_bytes(content)
    with pytest.raises(PlaitError) as caught:
        load_study(path)
    assert str(path) in str(caught.value)


def test_resolve():
    assert resolve("plait.fusion:Led", "x").__name__ == "Led"
    for path, message in [
        ("plait.fusion.Led", "x: got 'plait.fusion.Led', expected 'package.module:Name'"),
        ("plait.fusoin:Led", "x: no module 'plait.fusoin'"),
        ("plait.fusion:Lead", "x: module 'plait.fusion' has no 'Lead'; did you mean 'Led'?"),
    ]:
        with pytest.raises(ConfigError) as caught:
            resolve(path, "x")
        assert message in str(caught.value)


def test_a_file_lies_on_top_of_the_one_it_extends(tmp_path):
    write = lambda name, text: (tmp_path / name).write_text(text)  # noqa: E731
    write("base.toml", tomli_w.dumps(tiny.study(seeds=[0], protocol={"refit": True})))
    (tmp_path / "own").mkdir()
    write(
        "own/mine.toml",
        'extends = "../base.toml"\nname = "mine"\nmethods.a.args.head = "hidden"\ntrain.patience = 3\n',
    )
    mine, base = load_study(tmp_path / "own" / "mine.toml", ["seeds=[5]"]), load_study(tmp_path / "base.toml")
    assert (mine.name, mine.seeds, mine.protocol) == ("mine", (5,), base.protocol)
    assert mine.methods["a"].args == {"modality": "a", "head": "hidden"}
    assert mine.train == replace(base.train, patience=3)
    assert list(mine.methods) == list(base.methods)
    write("base.toml", 'extends = "own/mine.toml"')
    with pytest.raises(ConfigError, match="extends: got .*, expected the path of another study file"):
        load_study(tmp_path / "base.toml")
    write("base.toml", 'extends = "gone.toml"')
    with pytest.raises(ConfigError, match="gone.toml: cannot be read"):
        load_study(tmp_path / "base.toml")


def test_some_methods_alone_and_what_they_are_made_from():
    methods = {
        **tiny.study()["methods"],
        "tuned": {"use": "plait.fusion:Concat", "encoders": {"a": {"from": "a"}}},
    }
    methods["led"] = {"use": "plait.fusion:Led", "args": {"lead": "a"}, "sweep": {"embedding": [1, 2]}}
    study = load_study(tiny.study(methods=methods))
    assert list(study.only(["average"]).methods) == ["a", "b", "average"]
    assert list(study.only(["tuned"]).methods) == ["a", "tuned"]
    assert list(study.only(["led*", "b"]).methods) == ["b", "led[embedding=1]", "led[embedding=2]"]
    assert list(study.only(["led[embedding=2]"]).methods) == ["led[embedding=2]"]
    with pytest.raises(ConfigError, match="only: no method 'gloves', expected some of: a, b, average"):
        study.only(["average", "gloves"])


@pytest.mark.parametrize("file", ["studies/demo.toml", "examples/generated.toml"])
def test_studies_that_need_no_data_name_modalities_there_are(file):
    study = load_study(Path(__file__).parents[2] / file)
    dataset = resolve(study.dataset, "dataset")
    for method in study.methods.values():
        for modality in method.modalities:
            assert dataset.modality(modality).name == modality


def test_a_method_may_be_like_another(tmp_path):
    """All of the other's keys but its own; an empty table leaves nothing; `args` go with `use`."""
    led = {"use": "plait.fusion:Led", "args": {"lead": "a", "head": "mean"}, "train": {"max_epochs": 2}}
    led["encoders"] = {"a": {"from": "a", "frozen": True}}
    methods = tiny.study()["methods"] | {
        "led": led,
        "flat": {"like": "led", "args": {"head": "flatten"}},
        "own": {"like": "flat", "encoders": {}, "train": {"patience": 3}},
        "both": {"like": "own", "use": "plait.fusion:Symmetric", "args": {"head": "mean"}},
    }
    with pytest.warns(
        PlaitWarning, match=r"args.embedding is of led alone: flat, own, like it in the file, stay"
    ):
        study = load_study(tiny.study(methods=methods), ["methods.led.args.embedding=3"])
    assert study.methods["flat"].args == {"lead": "a", "head": "flatten"}
    assert study.methods["flat"].encoders == study.methods["led"].encoders
    own, both = study.methods["own"], study.methods["both"]
    assert own.encoders == {} and own.train == {"max_epochs": 2, "patience": 3}
    assert both.args == {"head": "mean"} and both.use == "plait.fusion:Symmetric"
    assert both.modalities == ("a", "b")
    (tmp_path / "base.toml").write_text(tomli_w.dumps(tiny.study(methods=methods)))
    more = {"extends": "base.toml", "without": ["methods.led"], "methods": {"last": {"like": "flat"}}}
    (tmp_path / "more.toml").write_text(tomli_w.dumps(more))
    assert load_study(tmp_path / "more.toml").methods["last"].args == {"lead": "a", "head": "flatten"}


def test_only_what_would_have_been_inherited_is_named(tmp_path, recwarn):
    """Not what a method says itself, what is set there, too, nor arguments of another class."""
    methods = tiny.study()["methods"] | {
        "led": {"use": "plait.fusion:Led", "args": {"lead": "a"}},
        "flat": {"like": "led", "args": {"head": "flatten"}},
        "both": {"like": "led", "use": "plait.fusion:Symmetric", "args": {"head": "mean"}},
    }
    (tmp_path / "base.toml").write_text(tomli_w.dumps(tiny.study(methods=methods)))
    more = {"extends": "base.toml", "methods": {"later": {"like": "flat", "train": {"patience": 2}}}}
    (tmp_path / "more.toml").write_text(tomli_w.dumps(more))
    said = {
        "methods.led.args.head='hidden'": "",
        "methods.flat.args.head='hidden'": "later",
        "methods.led.train.patience=7": "flat, both",
        "methods.led.args.embedding=3": "flat, later",
        "methods.a.train.patience=7": "",
        "train.patience=7": "",
    }
    for text, names in said.items():
        load_study(tmp_path / "more.toml", [text])
        lines = [str(one.message) for one in recwarn]
        recwarn.clear()
        assert [line.partition("alone: ")[2].partition(", like it")[0] for line in lines] == [names] * bool(
            names
        )
    every = [f"methods.{name}.train.patience=7" for name in ("led", "flat", "both")]
    load_study(tmp_path / "more.toml", every)
    assert not recwarn


@pytest.mark.parametrize("like", ["nobody", "self", "other", 3, ["led"], None])
def test_a_method_is_like_another_method_of_the_file_or_refused(like):
    methods = tiny.study()["methods"] | {"self": {"like": like}, "other": {"like": "self"}}
    with pytest.raises(
        ConfigError, match=r"^study: methods\.(self|other)\.like: got .*, expected another method"
    ):
        load_study(tiny.study(methods=methods))


def test_methods_that_build_upon_each_other_without_end_are_refused_in_a_line(tmp_path):
    links = [f"[methods.m{i}]\nlike = 'm{i + 1}'\n" for i in range(2000)]
    file = tmp_path / "study.toml"
    last = "[methods.m2000]\nuse = 'plait.fusion:Concat'\n"
    file.write_text(
        "name = 's'\ndataset = 'tests.tiny:DATASET'\nmodalities = ['a']\n" + "".join(links) + last
    )
    with pytest.raises(ConfigError, match=r"study\.toml: methods: too many that build upon each other"):
        load_study(file)


def test_zero_h_may_go_by_whether_encoders_are_pretrained():
    """True where every encoder comes from a donor or is run once; elsewhere what is said holds."""
    donor, kept = {"from": "a", "frozen": True}, {"features": {"use": "tests.tiny:Encoder"}}
    cases = {
        True: [{"a": donor, "b": {"from": "b"}}, {"a": donor, "b": kept}],
        False: [{}, {"a": donor}, {"a": donor, "b": {**kept, "use": "tests.tiny:Encoder"}}],
    }
    for zero, encoders in cases.items():
        for own in encoders:
            led = {"use": "plait.fusion:Led", "args": {"lead": "a", "zero_h": "pretrained"}, "encoders": own}
            study = load_study(tiny.study(methods=tiny.study()["methods"] | {"led": led}))
            assert study.method("led").args == {"lead": "a", "zero_h": zero}
            (training,) = (one for one in study.trainings() if one.name == "led")
            assert training.method.args["zero_h"] is zero
    led["args"] = {"lead": "a"}
    assert (
        load_study(tiny.study(methods=tiny.study()["methods"] | {"led": led})).method("led").args
        == led["args"]
    )
