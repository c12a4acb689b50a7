"""One name in many spellings, many names that are close, and the order of all of them."""

import itertools
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.names import alike, likest, natural, plain, spellings

# words for people are of one letter, or of these:
LETTERS = st.text("abcdefghiklmnoqrtvwxyz", min_size=2, max_size=6)
NAMES = st.one_of(
    LETTERS,
    st.integers(1, 2000).map(str),
    st.builds(lambda word, number: f"{word}{number}", LETTERS, st.integers(1, 300)),
    st.builds(lambda word, other: f"{word} {other}", LETTERS, LETTERS),
    st.sampled_from(["René", "zoë b", "søren", "müller", "Ирина", "左手", "しげる", "राम", "ali3"]),
)


def _wide(name):
    return "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in name)


def _arabic(name):
    return "".join(chr(0x660 + int(one)) if one in "0123456789" else one for one in name)


def _zeros(name):
    return "".join(
        "0" + "".join(run) if digit else "".join(run) for digit, run in itertools.groupby(name, str.isdecimal)
    )


def _inside(what):
    return lambda name: name[:1] + what + name[1:]


VARIANTS = {
    "upper": str.upper,
    "title": str.title,
    "spaces": lambda name: f" {name}\t",
    "no-break space": lambda name: f"{name}\u00a0",
    "byte order mark": lambda name: "\ufeff" + name,
    "zero width": _inside("\u200b"),
    "soft hyphen": _inside("\u00ad"),
    "word joiner": _inside("\u2060"),
    "right to left": _inside("\u200f"),
    "selector": _inside("\ufe0f"),
    "composed": lambda name: unicodedata.normalize("NFC", name),
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
    "compatible": lambda name: unicodedata.normalize("NFKD", name),
    "full width": _wide,
    "arabic digits": _arabic,
    "leading zeros": _zeros,
    "underscores": lambda name: name.replace(" ", "_"),
    "hyphens": lambda name: name.replace(" ", "\u2011"),
    "two spaces": lambda name: name.replace(" ", "  "),
    "quoted": lambda name: f'"{name}"',
    "cyrillic": lambda name: name.translate(str.maketrans("aeopcxyi", "аеорсхуі")),
    "greek": lambda name: name.translate(str.maketrans("ov", "ον")),
}


@pytest.mark.parametrize("variant", VARIANTS)
@given(NAMES)
def test_every_spelling_of_one_name_is_found_whoever_or_whatever_is_called_so(variant, name):
    other = VARIANTS[variant](name)
    for person in (True, False):
        assert spellings(name, person=person) & spellings(other, person=person)
        assert alike([name, other], person=person) == (
            [] if name == other else [tuple(sorted((name, other), key=natural))]
        )


@given(st.lists(st.one_of(LETTERS, st.integers(1, 2000).map(str)), min_size=2, max_size=30))
def test_different_names_are_never_taken_for_one(names):
    assert alike(names) == [] and alike(names, person=False) == []


@pytest.mark.parametrize(
    "people",
    [
        [*map(str, range(1, 31)), *(f"a{i}" for i in range(1, 31)), "anna", "anne", "hanna"],
        # patients and staff share a number
        ["s1", "s10", "s11", "s1-1", "s1-11", "s11-1", "p1", "p10", "u1"],
        ["A", "B", "O", "I", "l", "1s", "s", "ss"],
        ["2024-01-05", "2024-01-06", "2024-10-5", "1.5", "15", "1.05.1"],
        ["か", "が", "は", "ば", "ぱ", "राम", "रमा", "रोम", "บอย", "บีย", "كامل", "كمال"],
        ["müller", "muller-lee", "möller", "søren", "sören"],
    ],
)
def test_people_who_are_different_stay_so(people):
    assert alike(people) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "01"), ("1", "s1"), ("1", "Subject 01"), ("s1", "sub-01"), ("S01", "sbj_1"),
        ("P1", "participant 1"),
        ("7", "7.0"), ("anna", "Anna "), ("René", "Rene\u0301"), ("José", "Jose"), ("Straße", "STRASSE"),
        ("anna marie", "Anna-Marie"), ("С1", "C1"), ("ﬁona", "fiona"), ("O'Neil", "O’Neil"),
        ("Артём", "Артем"), ("１２", "12"), ("١", "1"), ("1a", "s01a"),
    ],
)  # fmt: skip
def test_who_may_be_one_person_is_asked_about(one, other):
    assert alike([one, other, "somebody else"]) == [tuple(sorted((one, other), key=natural))]


def test_of_activities_accents_and_words_for_people_count():
    assert alike(["ma", "má", "mà", "1", "s1", "p1", "C", "C#", "Mutter", "Mütter"], person=False) == []
    assert alike(["press  button", "Press-Button", "step 1", "step 01"], person=False) == [
        ("Press-Button", "press  button"),
        ("step 01", "step 1"),
    ]


@given(st.text(max_size=12))
def test_a_plain_name_is_composed_trimmed_and_plain_already(name):
    kept = plain(name)
    assert plain(kept) == kept == unicodedata.normalize("NFC", kept) and kept == kept.strip()
    assert spellings(kept) & spellings(name) or not kept


def test_plain_names_of_one_word_typed_on_two_systems_are_equal():
    assert (
        plain("de\u0301couper ")
        == plain("d\u00e9couper")
        == plain("\ufeffd\u00e9couper\u200b")
        == "d\u00e9couper"
    )


@given(st.lists(st.text("aA01٣²é _\u0301", max_size=5), min_size=3, max_size=3))
def test_natural_is_a_total_order(names):
    a, b, c = names
    assert (natural(a) == natural(b)) == (a == b)
    assert (natural(a) < natural(b)) + (natural(b) < natural(a)) + (a == b) == 1
    assert not (natural(a) < natural(b) < natural(c)) or natural(a) < natural(c)


@given(st.permutations(["s10", "s9", "a", "10", "2", "02", "1", "٢", "a1", "", "9" * 5000]))
def test_numbers_come_in_their_order_before_words_whatever_order_they_came_in(names):
    assert sorted(names, key=natural) == ["", "1", "02", "2", "٢", "10", "9" * 5000, "a", "a1", "s9", "s10"]


def test_the_order_does_not_depend_on_the_seed_of_hashes():
    program = (
        "from plait.names import *; "
        "print(sorted({'1', '01', 'a', 's2'}, key=natural), alike({'s1', 'S1', 'b'}))"
    )
    for seed in ("0", "1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True
        )
        assert done.stdout.decode().strip() == "['01', '1', 'a', 's2'] [('S1', 's1')]"


@pytest.mark.parametrize(
    "sign", ["\u2212", "\u2043", "#", "!", "?", "*", "|", "=", "~", "+", "&", "@", "\u2022", "{"]
)
@given(LETTERS, LETTERS)
def test_no_sign_makes_two_people_of_one(sign, word, other):
    assert alike([f"{word}{sign}{other}", f"{word} {other}"])
    assert alike([f"{sign}{word}", word])
    assert alike([f"{word}-{sign}", word])


@given(
    st.integers(0, 300), st.sampled_from(["ID", "No. ", "nr_", "#", "Number ", "VP", "worker-", "volunteer "])
)
def test_a_number_with_a_word_that_says_nothing_is_that_number(number, word):
    assert alike([f"{word}{number}", str(number)])
    assert alike([f"{word}{number}", f"{word.upper()}0{number}"])
    assert alike([f"{word}{number}", f"{word}{number + 1}"]) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller", "Mueller"),
        ("Łukasz", "Lukasz"),
        ("Ԁan", "dan"),
        ("κate", "kate"),
        ("Åse", "Aase"),
        ("Doe, Jane", "jane doe"),
        ("Test subject 1", "S01"),
        ("subject№1", "s1"),
        ("Participant no. 7", "P07"),
        ("UserID 3", "user 3"),
        ("Subject ID 3", "3"),
        ("Ꭺnna", "anna"),
        ("ꓟax", "max"),
        ("кate", "kate"),
    ],
)
def test_letters_that_are_written_with_two_or_look_like_others(one, other):
    assert alike([one, other]) == [tuple(sorted((one, other), key=natural))]


def test_names_of_separators_alone_are_told_apart():
    assert alike(["-", "/", "_", "a"]) == []


def test_whom_somebody_is_by_name():
    people = ["10", "2", "Person 1", "1"]
    assert [likest(name, people) for name in ("1", "S01", " 2", "3", "")] == ["1", "1", "2", None, None]
    assert likest("Person 1", people) == "Person 1"  # rather than whose name looks like it
