"""A name is itself first: whatever letters it has."""

from hypothesis import given
from hypothesis import strategies as st

from plait.patterns import matching

NAMES = st.lists(st.text("ab[]*?!-μ. ", min_size=1, max_size=6), min_size=1, max_size=6, unique=True)


@given(NAMES, st.data())
def test_every_name_stands_for_itself_alone(names, data):
    one = data.draw(st.sampled_from(names))
    assert matching(one, names) == [one]


@given(NAMES)
def test_a_star_stands_for_all_in_their_order(names):
    assert matching("*", names) == (["*"] if "*" in names else names)


def test_brackets_are_letters_before_they_are_sets():
    units = ["AccX[mg]", "AccY[mg]", "AccZ[mg]", "Temp[C]"]
    assert matching("Acc?[mg]", units) == units[:3]
    assert matching("acc_[xyz]", ["acc_x", "acc_y", "gyr_x"]) == ["acc_x", "acc_y"]
    assert matching("acc_[xyz]", ["acc_x", "acc_[xyz]"]) == ["acc_[xyz]"]
    assert matching("flex*", ["Flex1"]) == []
