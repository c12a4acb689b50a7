"""A model card: what a model is, how good a run found its method, and what it cannot do."""

import polars as pl

from plait.analysis.calibration import score_summary
from plait.analysis.metrics import chance, summary
from plait.config import known_of
from plait.recogniser.decoding import Decoding
from plait.recogniser.model import ModelFacts
from plait.results import Results


def card(facts: ModelFacts, run: Results | None) -> str:
    """The card of a model, Markdown.

    Args:
        facts: what its `model.toml` says.
        run: what the study came to, if it was run.
    """
    training = facts.training
    sensors = [
        f"- `{name}`: {', '.join(sensor.streams)}; "
        + (
            f"{sensor.samples} samples at {sensor.rate_hz:g} Hz"
            if sensor.rate_hz
            else f"{sensor.samples} samples"
        )
        for name, sensor in facts.sensors.items()
    ]
    window = (
        "a whole recording" if facts.seconds is None else f"{facts.seconds:g} s, every {facts.stride_s:g} s"
    )
    seeds = f"seed{'s' if training.seeds else ''} {', '.join(map(str, training.seeds or (training.seed,)))}"
    epochs = ", ".join(f"{name} {network.epochs}" for name, network in facts.networks.items())
    lines = [
        "---",
        "library_name: plait",
        "tags: [activity-recognition, multimodal, sensor-fusion]",
        "---",
        "",
        f"# {facts.method}, of the study {facts.study}",
        "",
        f"Recognises {len(facts.activities)} activities ({', '.join(facts.activities)}) with plait.",
        "",
        "```sh",
        "plait predict MODEL RECORDING --out TIMELINE",
        "```",
        "",
        "## What it is given",
        "",
        *sensors,
        "",
        f"A window is {window}. Tensors are made by the code of `{facts.dataset}`, which must be importable.",
        "",
        "## What it was trained on",
        "",
        f"{training.clips} clips of {len(training.people)} people ({', '.join(training.people)}), "
        f"{seeds}. Epochs ({training.epochs}): {epochs}.",
    ]
    lines += [
        f"Blocks {', '.join(encoder.trainable.blocks)} of `{encoder.use}` were trained further, "
        f"on `{modality}`, in {name}; what is in front of them is as its weights' authors left it."
        for name, network in facts.networks.items()
        for modality, encoder in network.encoders.items()
        if encoder.trainable and not encoder.frozen
    ]
    if training.left_out:
        lines.append(f"Left out by name: {', '.join(training.left_out)}.")
    if facts.cite:
        lines += ["", f"Data: {facts.cite}"]
    lines += ["", "## How good it is", "", *_figures(facts, run)]
    lines += ["", "## How windows become segments", "", *_settings(facts)]
    lines += ["", "## Limits", "", *_limits(facts)]
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    lines += ["", f"Made with {versions}" + (f", commit {facts.commit}." if facts.commit else "."), ""]
    return "\n".join(lines)


def called(decoding: Decoding) -> str:
    """A decoding in words."""
    named = {
        "none": "the highest score of each moment",
        "median": f"the median over {decoding.seconds:g} s" if decoding.seconds else "",
        "minimum": f"nothing shorter than {decoding.seconds:g} s" if decoding.seconds else "",
        "viterbi": f"Viterbi, transitions with weight {decoding.transitions}",
    }
    return named[decoding.kind]


def _figures(facts: ModelFacts, run: Results | None) -> list[str]:
    """What a run found on people whom its networks had not seen."""
    if run is None:
        return ["No run stands behind it: nothing is known of how it does on people it has not seen."]
    table = run.predictions.filter(pl.col("method") == facts.method)
    if table.is_empty():
        return [f"The run has no scores of {facts.method}."]
    row = summary(table, facts.activities).row(0, named=True)
    scores = score_summary(table, facts.activities).row(0, named=True)
    spread = "" if row["subject_sd"] is None else f", SD over people {100 * row['subject_sd']:.1f} points"
    commonest, share = chance(table)
    always = f"whoever always says {commonest} has {100 * share:.0f} %"
    if f"{share:.2f}" != f"{1 / len(facts.activities):.2f}":
        always += f", whoever guesses {100 / len(facts.activities):.0f} %"
    over = len(run.facts.seeds)
    ensemble = run.facts.methods[facts.method].kind == "ensemble"
    seeds = f"an ensemble over {over} seeds" if ensemble else f"{row['seeds']} seeds"
    return [
        f"On people who were {known_of(run.facts.protocol)} ({row['subjects']} people, {row['clips']} clips, "
        f"{row['folds']} folds, {seeds}), in windows that are known to show one activity: "
        f"accuracy {100 * row['accuracy']:.1f} %{spread}; macro-F1 {100 * row['macro_f1']:.1f} %; "
        f"{always}. "
        f"Negative log likelihood {scores['nll']:.2f}, calibration error {100 * scores['ece']:.1f} points "
        f"({100 * scores['ece_by_chance']:.1f} by chance), before its temperature.",
        "",
        "Those networks were trained on fewer recordings than this one, which itself was tested on nobody.",
    ]


def _settings(facts: ModelFacts) -> list[str]:
    unlabelled = facts.unlabelled
    time = {
        "activity": f"Time without a label is an activity of its own, {unlabelled.activity}.",
        "leave-out": "Time without a label was left out of training: what is recognised there means nothing.",
        "refuse": "Time without a label was left out of training; where scores are low, nothing is recognised"
        + ("." if unlabelled.threshold is None else f" (below {unlabelled.threshold:.2f})."),
    }
    sure = (
        f"Scores are divided by a temperature of {facts.temperature:.2f}." if facts.temperature != 1 else ""
    )
    chosen = facts.training.settings
    return [
        f"Decoding: {called(facts.decoding)}. {sure} {time[unlabelled.policy]}".replace("  ", " "),
        "",
        f"Chosen on {chosen}."
        if chosen
        else "Nobody validated who was not trained on: neither temperature nor smoothing was chosen on data.",
    ]


def _limits(facts: ModelFacts) -> list[str]:
    refusing = ", unless its score is low." if facts.unlabelled.policy == "refuse" else "."
    return [
        f"- It knows these {len(facts.activities)} activities: all else is taken for one of them{refusing}",
        "- Other people, places, sensors and ways of wearing them than those it was trained on may change "
        "its figures by more than the spread over people above.",
        "- Where a sensor is missing, `plait predict` says which of the others saw a window.",
    ]
