"""What the doctor says of a study's recordings before anything is trained."""

import shlex
from pathlib import Path

from plait.clips import Listing
from plait.config import Study
from plait.doctor.checks import all_checks, quick
from plait.doctor.examine import examine
from plait.doctor.patients import of_study
from plait.errors import raised
from plait.study.folds import by_of
from plait.study.shuffled import people_of
from plait.types import Dataset

MOST_SAID = 5  # findings


def findings_of(study: Study, dataset: Dataset, data: Path, listing: Listing) -> list[str]:
    """What the doctor finds in a study's recordings, in short; pictures are not decoded for it.

    Nothing that is found stops a study, and nothing that goes wrong here does.
    """
    streams = [stream for name in study.needed for stream in dataset.modality(name).streams]
    checks = quick(all_checks(people_of(study), by_of(study.protocol)))
    try:
        found = examine(of_study(listing.cuts, streams), checks, keep=f"{study.dataset} {data}")
    except Exception as error:  # a stream of somebody's own may lack what checks look at
        return [f"doctor: gave up: {raised(error)}"]
    serious = [finding for finding in found.findings if finding.severity != "note"]
    lines = [f"doctor: {one.severity}: {one.check}: {one.where}: {one.what}" for one in serious[:MOST_SAID]]
    if found.findings:
        more = f"; `plait doctor {shlex.quote(str(data))} --study STUDY.toml` says all"
        lines.append(f"doctor: {found.summary()}{more}, doctor = false or --no-doctor switches it off")
    return lines
