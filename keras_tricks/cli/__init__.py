"""The program `keras-tricks`: one file per command, each with `add_arguments(parser)` and `run(args)`.

The first line of a command's docstring is its help. Commands import the package where they use it, so that `--help`
and a misspelt argument answer without loading Keras.

A user's mistake is one line on stderr and exit code 2, never a traceback.
"""

import faulthandler
import importlib
import os
import sys

from absl import app, logging

import keras_tricks
from keras_tricks.cli import backend, console, parser
from keras_tricks.cli.boundary import TRACEBACK, boundary
from keras_tricks.utils import exit_monitor
from keras_tricks.utils.errors import UserError, is_ours

COMMANDS = ("train", "launch", "plan", "compare", "evaluate", "report", "predict", "export", "reproduce", "benchmark",
            "inspect", "scale", "ablate", "list", "data", "port", "doctor")
WRITERS = ("train", "launch", "compare", "report", "export", "reproduce", "scale", "ablate")
ACTIONS = ("pack", "serve")  # of `data`


def main(argv=None):
    """Entry point of the console script."""
    console.prepare()
    exit_monitor.start()
    try:
        app.run(_run_as_program, argv=argv, flags_parser=parse)
    finally:
        exit_monitor.stop()


def _run_as_program(args):
    if not os.environ.get(TRACEBACK):
        faulthandler.disable()  # absl enables it; `exit_monitor` reports in one line that native code aborted
    if writes(args):
        console.ignore_write_errors()
    return run(args)


def writes(args):
    """Whether a command writes files, so that it works to its end although nobody reads its output."""
    if args.command == "port":
        return args.output is not None  # else the recipe is the output
    if any(getattr(args, name, None) for name in ("plot", "embeddings")) or getattr(args, "action", None) in ACTIONS:
        return True
    return args.command in WRITERS and not getattr(args, "dry_run", False)


def parse(argv):
    """The command line as a namespace whose `.run` is the function to call."""
    with boundary():
        _check_words(argv[1:])
    return parser.parse(*build_parser(), argv[1:])


def build_parser():
    """(parser of all commands, {name: parser of that command})."""
    top = parser.Parser(
        prog="keras-tricks", description="Published image-classification recipes, trained in Keras.")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"keras_tricks.cli.{name}")
        command = commands.add_parser(name, help=module.__doc__.splitlines()[0])
        module.add_arguments(command)
        command.set_defaults(run=getattr(module, "run", None))
    return top, commands.choices


def run(args):
    """Runs the command of parsed arguments; exits with its code."""
    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    logging.get_absl_handler().setFormatter(_PlainFormatter())
    logging.get_absl_handler().addFilter(is_ours)
    with boundary():
        if args.command != "launch":  # its processes do both
            backend.check_backend(args.command)
            keras_tricks.import_library()
        return args.run(args)


def _check_words(arguments):
    """Raises `UserError` for an empty word, and for one that is not text: TensorFlow could not open such a path."""
    for before, word in zip(["", *arguments], arguments, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            where = f" after {before}" if before.startswith("--") and not word else f": {word}" if word else ""
            raise UserError(f"An argument is empty{where}. Leave it out, or set the variable that it was made from.")
        if any("\udc80" <= character <= "\udcff" for character in word):
            shown = word.encode(errors="backslashreplace").decode()
            raise UserError(f"The argument {shown} is not text in the encoding of this system "
                            f"({sys.getfilesystemencoding()}): set PYTHONUTF8=1, or LC_ALL=C.UTF-8.")


class _PlainFormatter(logging.PythonFormatter):
    """Messages without absl's prefix; warnings and errors are marked as such."""

    def format(self, record):
        message = record.getMessage()
        return message if record.levelname == "INFO" else f"{record.levelname.lower()}: {message}"
