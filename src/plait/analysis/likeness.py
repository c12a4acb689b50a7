"""What two runs share and in what they differ: people, what was recorded of them, and settings."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from plait.names import natural
from plait.results import PersonFacts, Results, RunFacts

Named = tuple[str, Results]


def shared_person(one: Results, other: Results) -> str | None:
    """Somebody who is in both runs, in words; None where nobody is.

    They are told by what was recorded of them. Where a run does not say that, for an older plait has left it
    or streams have no `content_key`, they are who have the same name and a clip of the same name.
    """
    held = {key: who for who, person in other.facts.people.items() for key in _contents(person)}
    for who, person in one.facts.people.items():
        for key in _contents(person):
            if key in held:
                as_well = "" if held[key] == who else f" (there {held[key]!r})"
                return f"both have recordings of {who!r}{as_well}"
    told = [
        {who for who, person in run.facts.people.items() if any(_contents(person))} for run in (one, other)
    ]
    clips = [set(run.predictions.select("subject", "clip").unique().iter_rows()) for run in (one, other)]
    for who, clip in sorted(clips[0] & clips[1]):
        if who not in told[0] or who not in told[1]:
            return f"both have a clip {clip!r} of {who!r}, and one does not say what it holds (run it again)"
    return None


def changed(before: RunFacts, now: RunFacts, people: Collection[str]) -> str | None:
    """What was recorded of `people` that is not the same in both, in words; None where all is.

    The streams are looked at that both read; and when clips begin and end, and what is done in them. Nothing
    is known of people of whom a run does not say it, for an older plait has left it.
    """
    streams = [name for name in before.streams if name in now.streams]
    for who in sorted(people, key=natural):
        one, other = before.people.get(who), now.people.get(who)
        if one is None or other is None:
            continue
        for stream in streams:
            if one.streams.get(stream) != other.streams.get(stream):
                return f"stream {stream!r} of {who} holds something else"
        if one.clips != other.clips:
            return f"clips of {who} are cut or labelled otherwise"
    return None


def differences(one: Named, other: Named, contrasts: Sequence[tuple[str, str]]) -> list[str]:
    """In what two runs differ besides their scores, a line each: split, settings, what computed them.

    Args:
        one: a run's name, and what it came to.
        other: likewise.
        contrasts: a method of the first and one of the other. The settings of one method in both are looked
            at; of two methods, which differ on purpose, only how they were trained.
    """
    (name, results), (second, others) = one, other
    facts = [_flat(_of_run(run.facts)) for run in (results, others)]
    lines = [_line(key, name, a, second, b) for key, a, b in _unequal(*facts)]
    of_methods: dict[str, list[str]] = {}
    for method, baseline in contrasts:
        same = method == baseline
        rows = [
            _flat(_of_method(run.facts, which, same))
            for run, which in ((results, method), (others, baseline))
        ]
        for key, a, b in _unequal(*rows):
            of_methods.setdefault(_line(key, name, a, second, b), []).append(method)
    trained = sum(bool(results.facts.methods[method].train) for method, _ in contrasts)
    for line, methods in of_methods.items():
        lines.append(line if len(methods) >= trained else f"{', '.join(methods)}: {line}")
    return lines


def _contents(person: PersonFacts) -> Iterator[str]:
    """Keys of what was recorded of a person."""
    for keys in person.streams.values():
        yield from keys


def _of_run(facts: RunFacts) -> dict[str, Any]:
    """What decides the scores of all of a run's methods."""
    computed = {name: getattr(facts, name) for name in ("device", "threads", "commit")}
    return {"protocol": facts.protocol, "versions": facts.versions, **computed}


def _of_method(facts: RunFacts, method: str, whole: bool) -> dict[str, Any]:
    """What decides the scores of one method; unless `whole`, only how it was trained."""
    row = facts.methods[method]
    settings: dict[str, Any] = {"train": row.train}
    if whole:
        for name in ("use", "modalities", "args", "encoders", "made_of"):
            value = getattr(row, name)
            settings[name] = (
                {m: asdict(origin) for m, origin in value.items()} if name == "encoders" else value
            )
    return settings


def _flat(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The settings of tables within tables by their path, with dots between."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{path}{key}.")
        else:
            flat[f"{path}{key}"] = value
    return flat


def _unequal(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Settings that are not equal, with both values; not those of a kind of which one run says nothing."""
    said = [{key.partition(".")[0] for key in table if table[key] is not None} for table in (one, other)]
    for key in dict.fromkeys([*one, *other]):
        a, b = (json.loads(json.dumps(table.get(key), default=str)) for table in (one, other))
        if a != b and all(key.partition(".")[0] in known for known in said):
            yield key, a, b


def _line(key: str, name: str, a: Any, second: str, b: Any) -> str:
    """One difference in words."""
    return f"{key}: {_said(a)} ({name}), {_said(b)} ({second})"


def _said(value: Any) -> str:
    """A setting as a report prints it."""
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    return "none" if value is None or value == {} else str(value)
