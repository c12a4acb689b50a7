"""Names as people write them: cleaned, put in order, and told apart however they are spelled."""

import re
import unicodedata
from collections.abc import Iterable
from itertools import combinations

# A word in front of a number says that a person follows, not which: subject 1, sub-01, S1; P01; user 1.
FAMILIES = {
    "subject": ("s", "su", "sub", "subj", "sbj", "subject", "subjects", "testsubject"),
    "participant": ("p", "pp", "pt", "part", "participant", "person", "pers", "patient", "testperson"),
    "user": ("u", "usr", "user"),
    "session": ("se", "ses", "sess", "session", "sessions"),
    "volunteer": ("v", "vol", "volunteer", "vp", "proband", "player", "worker", "actor"),
}
COUNTED = ("id", "no", "nr", "num", "number")  # a number alone
WORDS = {word: family for family, words in FAMILIES.items() for word in words}
# Letters of other alphabets that cannot be told from a Latin one in print (of Unicode's confusables, UTS 39).
LOOKALIKES = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеѕіјорсухԁԛԝһӏΑΒΕΖΗΙΚΜΝΟΡΤΥΧονρκɑɡıոսօհιυкᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᏚᎢᏙᎳᏃꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ",
    "ABESIJKMHOPCTYXaesijopcyxdqwhlABEZHIKMNOPTYXovpkaginuohiukABCDEGHJKLMPSTVWZABCDEFGHIJKLMNOPRSTUVWXYZ",
)
# Letters that Unicode does not take apart, as people write them without; and with two letters for one.
PLAIN = str.maketrans({"ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "œ": "oe", "æ": "ae", "þ": "th"})
SPELLED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"})
MINUS = "\u2212\u2043\u02d7\u2796"  # signs that look like a hyphen and are none by category
FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # blank, though letters or marks by category
JOINERS = "\u200c\u200d"  # which letters of some scripts, and emoji, are written with
ACCENTS = re.compile("[\u0300-\u036f]")
NUMBERED = re.compile(r"([^\W\d_]+)(\d.*)", re.DOTALL)
SEPARATORS = re.compile(r"[\s_.,;:/\\()\[\]'\"`´’‘“”-]+")

Key = tuple[tuple[tuple[int, int, str], ...], str]


def natural(name: str) -> Key:
    """A sorting key that puts `"2"` before `"10"`, `"s2"` before `"s10"`, and numbers before words.

    A total order: keys are equal for equal names alone, `"01"` comes right before `"1"`.
    """
    parts = []
    for part in re.split(r"(\d+)", name):
        if part.isdecimal():
            digits = _western(part).lstrip("0")
            parts.append((0, len(digits), digits))
        elif part:
            parts.append((1, 0, part))
    return tuple(parts), name


def plain(name: str) -> str:
    """A name as it is kept: letters composed (NFC), white space single, nothing invisible at either end."""
    text = " ".join(name.split())
    blank = {letter for letter in text if _is_invisible(letter)} | {" "}
    return unicodedata.normalize("NFC", text.strip("".join(blank)))


def spellings(name: str, *, person: bool = True) -> frozenset[str]:
    """What a name comes to, however it is written: two names that share a spelling look alike.

    What does not count: case, the width and form of letters and digits, what is invisible, separators that do
    not stand between digits, quotes, leading zeros, a number's `.0`, and from which alphabet a letter is that
    looks like a Latin one. In names of a `person`, neither do accents and other signs, whether an umlaut is
    written with an e, nor how a word for people is written in front of a number; a number alone is anybody's
    of that number.
    """
    spelled = set()
    compatible = unicodedata.normalize("NFKC", name)
    texts = [name, compatible.translate(LOOKALIKES), compatible.casefold().translate(LOOKALIKES)]
    if person:
        texts.append(compatible.casefold().translate(SPELLED))
        unnumbered = [text for text in texts if not re.search(r"\d", text)]
        texts += [" ".join(sorted(re.split(r"[\s,;_]+", text))) for text in unnumbered]
    for text in texts:
        base = _bare(text, person)
        numbered = NUMBERED.fullmatch(base) if person else None
        if numbered:
            stems = (numbered[1].removesuffix(suffix) for suffix in COUNTED)
            word = next((stem for stem in stems if stem in WORDS), numbered[1])
            if word in COUNTED:
                base = numbered[2]
            elif word in WORDS:
                base = f"{WORDS[word]} {numbered[2]}"
        spelled.add(base)
        if person and base[:1].isdecimal():
            spelled |= {f"{family} {base}" for family in FAMILIES}
    return frozenset(spelled)


def alike(names: Iterable[str], *, person: bool = True) -> list[tuple[str, str]]:
    """The pairs of different names that look alike, in natural order."""
    ordered = sorted(set(names), key=natural)
    places: dict[str, list[int]] = {}
    for place, name in enumerate(ordered):
        for spelling in spellings(name, person=person):
            places.setdefault(spelling, []).append(place)
    pairs = {pair for sharing in places.values() for pair in combinations(sharing, 2)}
    return [(ordered[a], ordered[b]) for a, b in sorted(pairs)]


def likest(name: str, people: Iterable[str]) -> str | None:
    """Whom of `people` a person is, as far as names tell: one of that name, or else whose looks alike."""
    spelled = spellings(name)
    looking = sorted((other for other in people if spelled & spellings(other)), key=natural)
    same = [other for other in looking if plain(other) == plain(name)]
    return next(iter(same or looking), None)


def _bare(text: str, person: bool) -> str:
    """The letters and numbers of a name."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = "".join(letter for letter in text if not _is_invisible(letter))
    if person:
        unaccented = ACCENTS.sub("", unicodedata.normalize("NFD", text))
        text = unicodedata.normalize("NFC", unaccented).translate(PLAIN)
        text = "".join(" " if _is_sign(letter) else letter for letter in text)
    text = "".join("-" if _is_dash(letter) else letter for letter in _western(text)).strip()
    text = re.sub(r"(?<![\d.,])(\d+)\.0+$", r"\1", text)  # a number that a table has read as a fraction
    joined = SEPARATORS.sub(lambda gap: "-" if _between_digits(gap) else "", text)
    return re.sub(r"\d+", lambda digits: digits[0].lstrip("0") or "0", joined or text)


def _between_digits(gap: re.Match[str]) -> bool:
    before, after = gap.string[: gap.start()][-1:], gap.string[gap.end() :][:1]
    return before.isdecimal() and after.isdecimal()


def _is_dash(letter: str) -> bool:
    return unicodedata.category(letter) == "Pd" or letter in MINUS


def _is_sign(letter: str) -> bool:
    """Whether it is no letter, digit, mark or dash, and no separator that counts between digits."""
    return unicodedata.category(letter)[0] in "PS" and not _is_dash(letter) and letter not in ".,;:/\\_"


def _western(text: str) -> str:
    """Decimal digits of any script as 0 to 9."""
    return "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in text)


def _is_invisible(letter: str) -> bool:
    """Whether nothing is printed for it: format and control characters, fillers, selectors of variants."""
    control = unicodedata.category(letter) in ("Cf", "Cc") and not letter.isspace()
    selects = "\ufe00" <= letter <= "\ufe0f" or "\U000e0100" <= letter <= "\U000e01ef"
    return letter in FILLERS or selects or control


def inside(name: str) -> bool:
    """Whether what data calls a file can be one inside its folder: relative, no way up, not too long."""
    parts = name.replace("\\", "/").split("/")
    odd = ".." in parts or not parts[0] or (":" in parts[0] and len(parts) > 1) or "\0" in name
    sizes = [len(part.encode(errors="surrogatepass")) for part in parts]
    return not odd and max(sizes) <= 255 and sum(sizes) + len(parts) < 2048


def encodable(name: str) -> bool:
    """Whether a name can be written down: file names that are not UTF-8 come with letters that cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """`text` with a mark for each letter that is not seen, or that XML and UTF-8 have no place for."""
    return "".join(
        letter if letter.isprintable() or letter in JOINERS else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )
