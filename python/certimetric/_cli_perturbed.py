"""The command that compares LMNN with the perturbation loss and without."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typer import Option

from certimetric._cli_frame import Quiet, friendly
from certimetric._cli_reproduce import OUT, Data, Only, Out, check_folder
from certimetric._cli_work import Jobs
from certimetric._files import write_text
from certimetric._validation import effective_jobs
from certimetric.exceptions import InputError
from certimetric.reproduce import perturbed
from certimetric.reproduce.perturbed import LEARNERS, SMALL, Outcome, Study
from certimetric.reproduce.picture import draw_perturbed

__all__ = ["lmnn_pl"]


@friendly
def lmnn_pl(
    data: Data,
    only: Only = None,
    splits: Annotated[int, Option("--splits", min=1, help="Random splits of each data set.")] = 5,
    out: Out = OUT,
    jobs: Jobs = None,
    quiet: Quiet = False,
) -> None:
    """LMNN with the perturbation loss and without, on small data sets: Yang et al. (TPAMI 2022)."""
    effective_jobs(jobs, "--jobs")
    files = _small_files(data, only)
    check_folder(out)
    studies = [Study.of_file(path, out / "cells", jobs) for path in files]
    work = [(study, learner, split) for study in studies for split in range(splits) for learner in LEARNERS]
    outcomes: list[Outcome] = []
    try:
        for study, learner, split in work:
            outcomes.append(study.outcome(learner, split))
            if not quiet:
                count = f"[{len(outcomes)}/{len(work)}]"
                print(f"{count} {study.name}: {learner}, split {split}", file=sys.stderr, flush=True)
    except KeyboardInterrupt as error:
        kept = f"{len(outcomes)} of {len(work)} measurements are kept in {out / 'cells'}"
        raise KeyboardInterrupt(f"{kept}; the same command goes on from there.") from error
    out.mkdir(exist_ok=True)
    written = {suffix: out / f"lmnn-pl.{suffix}" for suffix in ("md", "csv", "png")}
    write_text(written["md"], perturbed.markdown(outcomes))
    perturbed.write_csv(outcomes, written["csv"])
    draw_perturbed(outcomes, written["png"])
    print(perturbed.text(outcomes))
    for path in written.values():
        print(f"wrote {path}")


def _small_files(data: Path, only: Sequence[str] | None) -> list[Path]:
    """The files of small data sets that are meant; an error that names the option where there are none."""
    if data.is_file():
        if only:
            raise InputError(f"--only chooses among the data sets of a folder, but --data is {data}.")
        return [data]
    if not data.is_dir():
        raise InputError(f"--data: {data}: no such file or folder.")
    for name in only or ():
        if name not in SMALL:
            raise InputError(f"--only must name data sets of the table, {', '.join(SMALL)}; got {name!r}.")
    found = [data / f"{name}.npz" for name in dict.fromkeys(only or SMALL)]
    missing = [path for path in found if not path.is_file()]
    if missing and (only or len(missing) == len(found)):
        raise InputError(f"--data: {missing[0]}: no such file.")
    return [path for path in found if path not in missing]
