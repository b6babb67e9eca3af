"""The program `keras-tricks`: one file per command, each with `add_arguments(parser)` and `run(args)`.

The first line of a command's docstring is its help. Commands import the package where they use it, so that `--help`
and a misspelt argument answer without loading Keras.

A user's mistake is one line on stderr and exit code 2, never a traceback.
"""

import importlib
import sys

from absl import app, logging
from absl.flags import argparse_flags

import keras_tricks
from keras_tricks.utils.errors import UserError, is_ours

COMMANDS = ("train", "plan", "compare", "evaluate", "predict", "export", "benchmark", "inspect", "scale", "ablate",
            "list", "data", "doctor")


def main(argv=None):
    """Entry point of the console script."""
    app.run(run, argv=argv, flags_parser=parse)


def parse(argv):
    """The command line as a namespace whose `.run` is the function to call."""
    return build_parser().parse_args(argv[1:])


def build_parser():
    """The parser of all commands."""
    parser = argparse_flags.ArgumentParser(
        prog="keras-tricks", description="Published image-classification recipes, trained in Keras.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"keras_tricks.cli.{name}")
        command = commands.add_parser(name, help=module.__doc__.splitlines()[0])
        module.add_arguments(command)
        command.set_defaults(run=getattr(module, "run", None))
    return parser


def run(args):
    """Runs the command of parsed arguments; exits with its code."""
    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    logging.get_absl_handler().setFormatter(_PlainFormatter())
    logging.get_absl_handler().addFilter(is_ours)
    try:
        keras_tricks.import_library()
        return args.run(args)
    except UserError as error:
        print(f"keras-tricks: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
    except BrokenPipeError:
        sys.exit(0)
    except KeyboardInterrupt:
        print("keras-tricks: interrupted", file=sys.stderr)
        sys.exit(130)


class _PlainFormatter(logging.PythonFormatter):
    """Messages without absl's prefix; warnings and errors are marked as such."""

    def format(self, record):
        message = record.getMessage()
        return message if record.levelname == "INFO" else f"{record.levelname.lower()}: {message}"
