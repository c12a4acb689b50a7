from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.config import Protocol
from plait.errors import ConfigError
from plait.study.folds import check_choice, check_classes, doers, folds
from plait.types import Clip, Fold


@given(st.sets(st.text("ab12", min_size=1, max_size=3), min_size=3, max_size=8), st.integers(1, 4))
def test_every_subject_is_tested_once_and_stands_in_one_part_of_each_fold(subjects, val_subjects):
    if len(subjects) < val_subjects + 2:
        with pytest.raises(ConfigError, match=f"expected at least {val_subjects + 2}"):
            folds(Protocol(val_subjects=val_subjects), sorted(subjects))
        return
    made = folds(Protocol(val_subjects=val_subjects), sorted(subjects) * 3)
    assert sorted(fold.test[0] for fold in made) == sorted(subjects)
    for fold in made:
        assert fold.name == fold.test[0] and len(fold.val) == val_subjects and len(fold.test) == 1
        assert sorted((*fold.train, *fold.val, *fold.test)) == sorted(subjects)


def test_the_next_subjects_validate_cyclic_in_natural_order():
    made = {fold.name: fold for fold in folds(Protocol(val_subjects=2), ["10", "1", "9", "2"])}
    assert made["9"] == Fold("9", ("2",), ("10", "1"), ("9",))
    assert list(made) == ["1", "2", "9", "10"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": ("1", "2"), "val": ("2",), "test": ("3",)}, "subject '2' stands in train and in val"),
        ({"train": ("1",), "val": ("2",), "test": ("9",)},
         "test: unknown subject '9', expected some of: 1, 2, 3"),
        ({"train": ("1", "1"), "val": ("2",), "test": ("3",)}, "subject '1' stands 2 times"),
        ({"train": ("1",), "val": ("2",), "test": ()}, "protocol.test: empty"),
        ({"train": ("1",), "val": (), "test": ("3",), "refit": True}, "protocol.refit: nobody validates"),
        ({"train": ("1",), "val": ("2",), "test": ("3",), "subjects": ("1",)},
         "protocol.subjects: a list for the other kinds"),
    ],
)  # fmt: skip
def test_wrong_splits_are_refused(parts, message):
    with pytest.raises(ConfigError) as caught:
        folds(Protocol(kind="fixed", **parts), ["1", "2", "3"])
    assert message in str(caught.value)


def test_settings_can_be_chosen_among_some_subjects_without_a_look_at_the_others():
    made = folds(Protocol(subjects=("5", "1", "3"), val_subjects=0), ["1", "2", "3", "4", "5"])
    assert made == (
        Fold("1", ("3", "5"), (), ("1",)),
        Fold("3", ("1", "5"), (), ("3",)),
        Fold("5", ("1", "3"), (), ("5",)),
    )
    with pytest.raises(ConfigError, match="protocol.subjects: unknown subject '9'"):
        folds(Protocol(subjects=("1", "9", "3")), ["1", "2", "3"])
    with pytest.raises(ConfigError, match=r"protocol: 2 subjects \(1, 3\), expected at least 3"):
        folds(Protocol(subjects=("1", "3"), val_subjects=1), ["1", "2", "3"])


def test_the_best_epoch_cannot_be_chosen_where_nobody_validates():
    (fold,) = folds(Protocol(kind="fixed", train=("1",), val=(), test=("3",)), ["1", "2", "3"])
    check_choice(fold, "last", "train")
    with pytest.raises(
        ConfigError, match="methods.x.train.choose is 'best', but nobody validates in fold fixed"
    ):
        check_choice(fold, "best", "methods.x.train")


def test_lists_of_subjects_are_for_fixed_splits():
    with pytest.raises(ConfigError, match="protocol.train: of kind = 'fixed'"):
        folds(Protocol(train=("1",)), ["1", "2", "3"])


def test_an_activity_nobody_trains_on_is_refused():
    clips = [Clip("x", "x", "1", "run", 0, 1), Clip("y", "y", "2", "sit", 0, 1)]
    check_classes(Fold("f", ("1", "2"), (), ()), doers(clips, "subject"), ["run", "sit"])
    with pytest.raises(
        ConfigError, match="fold f: activity 'sit' has no clip of the training subjects 1: only 2 did it; "
    ):
        check_classes(Fold("f", ("1",), (), ()), doers(clips, "subject"), ["run", "sit"])


PEOPLE = st.sets(st.integers(1, 40).map(str), min_size=5, max_size=30).map(sorted)


@given(PEOPLE, st.integers(2, 12), st.integers(0, 3), st.integers(0, 9), st.booleans())
def test_groups_of_people_are_as_equal_as_can_be_and_everybody_is_tested_once(
    people, count, validating, seed, listed
):
    val = tuple(people[:2]) if listed else ()
    protocol = Protocol("subject-folds", validating, folds=count, seed=seed, val=val)
    pool = [subject for subject in people if subject not in val]
    size = -(-len(pool) // count)
    if len(pool) < max(count, size + (0 if listed else validating) + 1):
        with pytest.raises(ConfigError, match="expected at least"):
            folds(protocol, people)
        return
    made = folds(protocol, people)
    assert [fold.name for fold in made] == [str(number) for number in range(1, count + 1)]
    assert sorted(subject for fold in made for subject in fold.test) == sorted(pool)
    assert {len(fold.test) for fold in made} <= {size, len(pool) // count}
    for fold in made:
        assert sorted((*fold.train, *fold.val, *fold.test)) == sorted(people)
        assert len(fold.val) == (2 if listed else validating) and (not listed or fold.val == val)
    assert made == folds(protocol, people[::-1])


def test_another_seed_deals_other_groups_and_validators_follow_in_that_order():
    people = [str(number) for number in range(1, 21)]
    first, second = (folds(Protocol("subject-folds", 1, folds=5, seed=seed), people) for seed in (0, 1))
    assert [fold.test for fold in first] != [fold.test for fold in second]
    for fold, after in zip(first, (*first[1:], first[0]), strict=True):
        assert fold.val[0] in after.test  # the next group's first


@given(st.integers(4, 8), st.integers(1, 3), st.integers(0, 1))
def test_every_set_of_n_people_is_left_out_once(count, leave, validating):
    people = [str(number) for number in range(1, count + 1)]
    if count < leave + validating + 1:
        return
    made = folds(Protocol("leave-n-out", validating, leave=leave), people)
    assert sorted(fold.test for fold in made) == sorted(combinations(people, leave))
    assert all(sorted((*f.train, *f.val, *f.test)) == people and len(f.val) == validating for f in made)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "subject-folds"}, "protocol.folds: missing, expected a number for kind = 'subject-folds'"),
        ({"kind": "leave-n-out"}, "protocol.leave: missing"),
        ({"folds": 3}, "protocol.folds: of kind = 'subject-folds', not of leave-one-subject-out"),
        ({"kind": "subject-folds", "folds": 3, "leave": 2}, "protocol.leave: of kind = 'leave-n-out'"),
        ({"kind": "fixed", "train": ("1",), "test": ("2",), "seed": 4}, "protocol.seed: of kind = 'subject"),
        ({"train": ("1",)}, "protocol.train: of kind = 'fixed'"),
        ({"val": ("9",)}, "protocol.val: unknown subject '9'"),
        (
            {"kind": "leave-n-out", "leave": 15},
            "protocol.leave: 77558760 sets of 15 subjects, expected 1000",
        ),
    ],
)
def test_settings_of_another_kind_of_protocol_are_refused(settings, message):
    with pytest.raises(ConfigError) as caught:
        folds(Protocol(**settings), [str(number) for number in range(30) if number != 9])
    assert message in str(caught.value)


def test_two_folds_of_one_name_are_refused():
    """One would stand in the place of the other, whose people would be tested in no fold."""
    names = ("a", "b+c", "a+b", "c")
    with pytest.raises(ConfigError, match="2 folds would be called 'a.b.c', expected names without '.'"):
        folds(Protocol(kind="leave-n-out", leave=2, val_subjects=0), names)
    assert len(folds(Protocol(kind="leave-n-out", leave=1, val_subjects=0), names)) == 4
