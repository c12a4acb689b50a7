"""The doctor: what is wrong in data, before it becomes a number."""

import os
from pathlib import Path
from typing import Annotated

import typer

from plait.cli.meter import Meter
from plait.cli.modules import beside, trusted
from plait.cli.options import Different, SamePerson, Trusted, meant, names_together
from plait.errors import ConfigError

app = typer.Typer()


@app.command()
def doctor(
    data: Annotated[
        Path, typer.Argument(help="Recordings, a clip table, or a data set's folder.", metavar="DATA")
    ],
    dataset: Annotated[
        str | None,
        typer.Option(metavar="MODULE:NAME", help="The data set; by default plait's own recordings."),
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            help="A study, whose data set, people and split are meant.", metavar="STUDY.toml", callback=meant
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where index.html and doctor.json go.", metavar="DIR")
    ] = None,
    only: Annotated[
        list[str], typer.Option("--only", metavar="CHECK", help="This check alone: 'clock-*'.")
    ] = [],  # noqa: B006 - typer reads the default, nobody writes it
    pictures: Annotated[bool, typer.Option(help="Whether pictures are decoded and looked at.")] = True,
    same_person: SamePerson = [],  # noqa: B006
    different: Different = [],  # noqa: B006
    trust: Trusted = [],  # noqa: B006
) -> None:
    """Look for what would make a study's numbers wrong: copies, clocks, units, labels that metadata tells.

    Ends with 0 where nothing or only notes were found, 1 after warnings, 3 after faults (2 is for bad input).
    """
    from plait.clips import People, Side
    from plait.doctor.checks import all_checks, chosen, quick
    from plait.doctor.examine import examine
    from plait.doctor.finding import Finding
    from plait.doctor.patients import brought
    from plait.report.findings import write_findings
    from plait.study.folds import by_of
    from plait.study.load import load_study
    from plait.study.shuffled import people_of
    from plait.trust import OWN

    if study and dataset:
        raise ConfigError("--study and --dataset: both say whose recordings these are, expected one of them")
    by: Side = "subject"
    design = None
    people = People(names_together("--same-person", same_person), names_together("--different", different))
    if study:
        beside(Path.cwd())
        beside(Path(os.path.realpath(study)).parent)
        loaded = load_study(study)
        design, by = OWN.dataset(loaded.dataset, "dataset"), by_of(loaded.protocol)
        said = people_of(loaded)
        people = People((*said.same, *people.same), (*said.different, *people.different))
    elif dataset:
        design = trusted(trust, dataset).dataset(dataset, "--dataset")
    checks = all_checks(people, by)
    checks = chosen(checks if pictures else quick(checks), only)
    found: list[Finding] = []
    with Meter("looking at recordings"):
        examination = examine(brought(data, design, found), checks, people, found, str(data.resolve()))
    for finding in examination.findings:
        typer.echo(f"{finding.severity}  {finding.check}: {finding.where}")
        typer.echo(f"  {finding.what}\n  {finding.harm}\n  {finding.remedy}")
    typer.echo(f"{examination.recordings} recordings of {examination.people} people: {examination.summary()}")
    if out:
        typer.echo(write_findings(out, examination, checks, data.name or str(data)))
    raise typer.Exit(examination.exit_code)
