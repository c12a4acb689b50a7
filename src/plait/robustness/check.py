"""Whether a run is what it was: its clips, its code, its weights, and what they say of clips as recorded."""

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from plait.config import Study
from plait.errors import ConfigError, DataError, one_line
from plait.results import COLUMNS, ORDER, WEIGHTS, job_folder, read_decided
from plait.robustness.trials import Trial
from plait.study.finished import FinishedRun
from plait.study.jobs import At, Job
from plait.study.run import Say

WORDS = {
    "clips": "clips are others (other data, or cut otherwise)",
    "fold": "other people train, validate or are tested",
    "sources": "code is another",
    "method": "the method or its settings are others",
    "encoders": "encoders are others",
    "torch": "torch is of another version",
}
ELSEWHERE = {"numerics", "device"}  # what another machine may have otherwise: last digits


def check_jobs(run: FinishedRun, jobs: Mapping[At, Job]) -> tuple[dict[At, Job], bool]:
    """The jobs with the keys that they had in the run; whether these were made by another kind of machine.

    That is another processor or device; all else that decides a job must be as it was.

    Raises:
        DataError: something is not, or a job's folder is gone; in one line that says which, and what.
    """
    kept: dict[At, Job] = {}
    moved = False
    for at, job in jobs.items():
        method, fold, seed = at
        key = run.methods[method].keys.get(f"{fold}/{seed}") if method in run.methods else None
        if key is None:
            raise DataError(f"{run.folder}: no job of {job.label}, expected one; run the study again")
        folder = job_folder(run.folder, key)
        if not (folder / WEIGHTS).is_file():
            raise DataError(f"{folder / WEIGHTS}: missing, expected the weights of {job.label}; run it again")
        if key != job.key:
            before, now = read_decided(folder), json.loads(json.dumps(job.decides))
            changed = {name for name in {*before, *now} if before.get(name) != now.get(name)}
            elsewhere = changed & ELSEWHERE
            changed -= ELSEWHERE | ({"donors"} if elsewhere else set())
            if changed:
                why = "; ".join(WORDS.get(name, f"{name} is another") for name in sorted(changed))
                raise DataError(
                    f"{run.folder}: {job.label}: {why} than when it was run; run it again, or give its own "
                    "--data"
                )
            moved = True
            donors = {m: encoder.donor for m, encoder in job.method.encoders.items() if encoder.donor}
            place = f"{fold}/{seed}"
            theirs = {m: run.methods[donor].keys[place] for m, donor in donors.items()}
            job = replace(job, made_as=key, donors=theirs)
        kept[at] = job
    return kept, moved


def check_portable(trials: Sequence[Trial]) -> None:
    """Refuse recordings that cannot be sent to other processes.

    Raises:
        ConfigError: naming one.
    """
    seen: set[int] = set()
    for trial in trials:
        for recording, _ in trial.cuts:
            if id(recording) in seen or not recording.streams:
                continue
            seen.add(id(recording))
            try:
                pickle.dumps(recording)
            except Exception as error:  # whatever a user's stream holds
                why = f"cannot be sent to other processes ({one_line(error)})"
                raise ConfigError(
                    f"recording {recording.name}: {why}; expected streams that can, or --executor inline"
                ) from error
            break  # others are of the same kinds


def check_scores(run: FinishedRun, study: Study, clean: pl.DataFrame, moved: bool, say: Say) -> None:
    """Refuse networks that do not say of clips as recorded what the run says they did, to the last digit.

    Args:
        run: which says it.
        study: the methods that are looked at.
        clean: what networks say of clips as recorded.
        moved: whether the run was made by another kind of machine: how many labels differ is then said.
        say: called with that.

    Raises:
        DataError: a score is another, and the machine is not.
    """
    predictions = run.results.predictions.filter(pl.col("method").is_in(list(study.methods)))
    same = clean.select(COLUMNS).equals(predictions.select(COLUMNS).sort(ORDER))
    if same and not moved:
        return
    key = ["method", "fold", "seed", "clip"]
    both = clean.join(predictions, on=key, how="full", suffix="_then", coalesce=True, nulls_equal=True)
    if moved:
        differ = both.select((pl.col("predicted") != pl.col("predicted_then")).fill_null(True).sum()).item()
        where = "the run was made by another kind of processor or device"
        say(f"{where}: {differ} of {len(both)} labels differ here")
        return
    other = both.filter((pl.col("scores") != pl.col("scores_then")).fill_null(True))
    trained = other.filter(pl.col("method").is_in(study.order()))  # averages are of these
    other = (other if trained.is_empty() else trained).select(key)
    which = "" if other.is_empty() else " of {}, fold {}, seed {}, on clip {}".format(*other.row(0))
    raise DataError(
        f"{run.folder}: the weights do not give the run's own scores{which}, expected those of this run; run "
        "the study again"
    )
