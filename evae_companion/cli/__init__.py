"""The command ``evae``: runs the notebooks in order, prints the score card, manages the store.

::

    evae preview [--preset ...] [--only 03 06 ...]   figures and score card from data/recorded; nothing is computed
    evae figures [--preset smoke|laptop|desktop|paper] [--all] [--only 03 06 ...] [--list] [--minutes M]
    evae train [--preset ...] [--minutes M]   all training stages, without notebooks and Jupyter
    evae forecast [--preset ...] [--D ...]   beta_c and gamma_c of a Hamiltonian, before any training
    evae ensemble --seeds N --D 0.2:0.4:5 [--scheduler tcp://...]   many sweeps at once, and tables
    evae claims [--preset ...]      the paper's claims, measured: the score card
    evae publish [--preset ...]     copy a finished run to figures/ and data/recorded, checked
    evae certify STATE.ovf --D .. --B ..   is this state a minimum, and is a lower one known in its box?
    evae judge FOLDER [--reference ...]    energies, diversity, charge, S(k) of anybody's ensemble of states
    evae search [--preset ...]      search for the lowest-energy state of the periodic box, into data/known
    evae study data_order|training_choices [--preset ...]   train what answers one of our questions, into data/known
    evae pack FOLDER [--preset ...] write what a later call elsewhere needs, in files of at most 16 MB
    evae unpack FOLDER              import such a folder into the store
    evae notebooks [--only ...] [--preset ...]   rebuild the .ipynb from the .py, executed
    evae clean [--yes]              remove every artifact of the store
    evae info                       versions, device, store

Exit codes: 0 done, 1 something failed (the last line says what), 2 the command line is wrong, 3 the minutes are over
and the same command resumes, 130 stopped by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evae_companion import places
from evae_companion.cli import certify as certifying
from evae_companion.cli import cluster as many
from evae_companion.cli import figures as showing
from evae_companion.cli import forecast as forecasting
from evae_companion.cli import judge as judging
from evae_companion.cli import maintenance, publishing, training
from evae_companion.cli import preview as previewing
from evae_companion.cli.errors import Failure, user_errors

# torch, papermill and the like are imported by the command that needs them, so that --help answers at once.


# Commands that run or write files of the repository.
OF_THE_REPOSITORY = ("preview", "figures", "notebooks", "publish", "search", "study")


def main(argv: Sequence[str] | None = None, root: Path | None = None) -> int:
    """Run one command and return its exit code.

    ``root`` is the folder that holds notebooks/ and build/: the repository, unless a test passes another. Artifacts and
    figures are stored where ``places.store_root`` and ``places.figures_folder`` say.
    """
    arguments = _parser().parse_args(argv)
    try:
        if root is None:
            with user_errors():
                root = (places.need_repository(f"evae {arguments.command}") if arguments.command in OF_THE_REPOSITORY
                        else places.repository() or Path.cwd())
        return int(arguments.run(arguments, root))
    except Failure as failure:
        print(f"evae: {failure}", file=sys.stderr)
        return failure.code
    except OSError as error:  # a full or read-only disk, say
        print(f"evae: {error}; free room there, or set EVAE_FIGURES and EVAE_STORE to other folders",
              file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("evae: stopped; the next run goes on from the artifacts that are complete", file=sys.stderr)
        return 130


_ABOUT = "Figures, claims and store of the E-VAE companion: a VAE with the magnetic Hamiltonian in its loss."
_BEGIN = """to begin with:
  evae preview                   figures and score card as recorded, in two minutes
  evae figures --list            the notebooks and what they show
  evae figures --preset smoke    the paper's in a few minutes, hardly trained
  make lab                       JupyterLab, on the notebook to start with
  evae COMMAND --help            a command's options

exit codes: 0 done, 1 failed (the last line says what), 2 wrong command line, 3 the minutes are over and the same
command goes on, 130 stopped by hand. What is computed is kept: a second run goes on where the first one ended."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evae", description=_ABOUT, epilog=_BEGIN,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    preset: dict[str, Any] = {"help": "smoke, laptop, desktop or paper (default: EVAE_PRESET where it is set, else "
                                      "desktop)"}
    only: dict[str, Any] = {"nargs": "+", "metavar": "NN", "default": [],
                            "help": "numbers of the notebooks to run, instead of all"}

    preview = commands.add_parser("preview", help="show the recorded figures and score card; nothing is computed")
    preview.add_argument("--preset", help="whose record (default: EVAE_PRESET where it is set, else every record, the "
                         "largest lattice first)")
    preview.add_argument("--only", **only)
    preview.set_defaults(run=previewing.show)

    figures = commands.add_parser("figures", help="run the notebooks in order; figures go to build/PRESET/figures")
    figures.add_argument("--preset", **preset)
    figures.add_argument("--only", **only)
    figures.add_argument("--all", action="store_true", help="run our own notebooks, 08 and on, too (default: 00 to 07, "
                         "the paper's)")
    figures.add_argument("--list", action="store_true", help="list the notebooks and run none")
    minutes: dict[str, Any] = {"type": float, "metavar": "M", "help": "begin nothing after M minutes; what is finished "
                               "by then is kept, and the same command goes on (exit code 3 until all is complete)"}
    figures.add_argument("--minutes", **minutes)
    figures.set_defaults(run=showing.figures)

    train = commands.add_parser("train", help="train all stages of a preset, without notebooks and Jupyter")
    train.add_argument("--preset", **preset)
    train.add_argument("--minutes", **minutes)
    train.set_defaults(run=training.train)

    forecast = commands.add_parser("forecast", help="beta_c and gamma_c of any Hamiltonian from some annealed states, "
                                   "before any training")
    forecast.add_argument("--preset", help="whose system and annealing (default: EVAE_PRESET where it is set, else "
                          "desktop)")
    forecasting.options(forecast)
    forecast.set_defaults(run=forecasting.forecast)

    certify = commands.add_parser("certify", help="is a state of yours a minimum, and is a lower one known?")
    certifying.options(certify)
    certify.set_defaults(run=certifying.certify)

    judge = commands.add_parser("judge", help="score an ensemble of states of yours, from any source")
    judging.options(judge)
    judge.set_defaults(run=judging.judge)

    ensemble = commands.add_parser("ensemble", help="train seeds x betas x D x B x sizes, here or on a Dask scheduler")
    ensemble.add_argument("--preset", **preset)
    ensemble.add_argument("--minutes", **minutes)
    many.options(ensemble)
    ensemble.set_defaults(run=many.ensemble)

    claims = commands.add_parser("claims", help="print the score card: the paper's claims, measured")
    claims.add_argument("--preset", **preset)
    claims.set_defaults(run=showing.claims)

    publish = commands.add_parser("publish", help="copy a finished run to figures/ and data/recorded, checked")
    publish.add_argument("--preset", **preset)
    publish.add_argument("--stages", action="store_true", help="only the tables of the ladders that are complete, into "
                         "data/recorded: so that a long run is not lost with its store")
    publish.add_argument("--own", action="store_true", help="only our own notebooks, 08 and on, of a run of these "
                         "alone: their figures, and what a preview of them needs")
    publish.set_defaults(run=publishing.publish)

    search = commands.add_parser("search", help="search the lowest state of a preset, into data/known")
    search.add_argument("--preset", **preset)
    search.set_defaults(run=maintenance.search)

    study = commands.add_parser("study", help="train what answers one of our questions, for hours, into data/known")
    study.add_argument("what", choices=["data_order", "training_choices"], help="does the order of the data decide "
                       "what a model collapses onto; which of the things that we add does the training need")
    study.add_argument("--preset", **preset)
    study.set_defaults(run=maintenance.study)

    pack = commands.add_parser("pack", help="what a later call on another machine needs, in files of at most 16 MB")
    pack.add_argument("folder", help="where to write them: new, or empty")
    pack.add_argument("--preset", **preset)
    pack.set_defaults(run=maintenance.pack)

    unpack = commands.add_parser("unpack", help="take a packed folder into the store")
    unpack.add_argument("folder")
    unpack.set_defaults(run=maintenance.unpack)

    notebooks = commands.add_parser("notebooks", help="make the .ipynb anew from the .py, executed")
    notebooks.add_argument("--only", **only)
    notebooks.add_argument("--preset", help="at which they are executed (default: desktop, and laptop for our own, "
                                            "whatever EVAE_PRESET says)")
    notebooks.add_argument("--recorded", action="store_true",
                           help="show data/recorded, as evae preview does: nothing is trained, no store is needed")
    notebooks.set_defaults(run=showing.notebooks)

    clean = commands.add_parser("clean", help="remove every artifact of the store")
    clean.add_argument("--yes", action="store_true", help="do not ask")
    clean.set_defaults(run=maintenance.clean)

    commands.add_parser("info", help="versions, device, store").set_defaults(run=maintenance.info)
    return parser
