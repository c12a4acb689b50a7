"""In what runs differ, setting by setting."""

from dataclasses import replace

from plait.analysis.likeness import differences
from plait.results import MethodFacts, Results, RunFacts

TRAIN = {"optimizer": "torch.optim:Adam", "args": {"lr": 0.01}, "max_epochs": 9}
ONE = RunFacts(
    study="s", dataset="d", cite="", activities=("x",), modalities=("a",), seeds=(0,),
    protocol={"kind": "fixed", "train": ["1", "2"], "test": ["3"], "val_subjects": None},
    methods={name: MethodFacts("fusion", ("a",), args={"lead": name}, train=TRAIN) for name in ("a", "b")}
    | {"average": MethodFacts("average", ("a",), made_of=("a", "b"))},
    versions={"torch": "2.0"},
)  # fmt: skip
SAME = [("a", "a"), ("b", "b"), ("average", "average")]


def lines(other, contrasts=SAME, one=ONE):
    return differences(("old", Results(one, None, None)), ("new", Results(other, None, None)), contrasts)


def test_every_setting_that_differs_is_named_with_both_values():
    assert lines(ONE) == []
    protocol = {**ONE.protocol, "train": ["1"], "val_subjects": 1}
    assert lines(replace(ONE, protocol=protocol, versions={"torch": "2.1"}, device="cuda")) == [
        "protocol.train: 1, 2 (old), 1 (new)",
        "protocol.val_subjects: none (old), 1 (new)",
        "versions.torch: 2.0 (old), 2.1 (new)",
        "device: cpu (old), cuda (new)",
    ]


def test_settings_of_all_trained_methods_are_said_once_and_of_some_with_their_names():
    slower = {
        name: replace(row, train=row.train and {**TRAIN, "args": {"lr": 1}})
        for name, row in ONE.methods.items()
    }
    assert lines(replace(ONE, methods=slower)) == ["train.args.lr: 0.01 (old), 1 (new)"]
    longer = {
        **ONE.methods,
        "b": replace(ONE.methods["b"], train={**TRAIN, "max_epochs": 10}, args={"lead": "c"}),
    }
    assert lines(replace(ONE, methods=longer)) == [
        "b: train.max_epochs: 9 (old), 10 (new)",
        "b: args.lead: b (old), c (new)",
    ]
    assert lines(replace(ONE, methods=longer), [("a", "b")]) == ["train.max_epochs: 9 (old), 10 (new)"]


def test_what_a_run_of_before_does_not_say_is_no_difference():
    before = {name: replace(row, train={}) for name, row in ONE.methods.items()}
    assert lines(ONE, one=replace(ONE, methods=before, versions={}, commit=None)) == []
