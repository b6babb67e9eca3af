"""Trains one epoch on every folder of tests/support/layouts.py: the table of docs/results/layouts.md.

Run      python benchmarks/layouts_table.py --output docs/results/layouts.md
Method   `keras-tricks train` in this process on a small network, batches of two images, one epoch. The images of a
         class have one grey, so that wrong pixels or labels are counted.
"""

import argparse
import contextlib
import io
import os
import pathlib
import re
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]


def main():
    from support.layouts import LAYOUTS, matches, train

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, help="page with the markers of layouts")
    args = parser.parse_args()
    lines, wrong = ["| folder | expected | actual |", "|---|---|---|"], 0
    for layout in LAYOUTS:
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch).resolve() / "data"
            root.mkdir()
            folder = layout.make(root) or root
            found = train(folder, root.parent / "run", run)
        is_right = matches(found, layout.expected)
        wrong += not is_right
        shown = re.sub(re.escape(str(root.parent)), "", found)
        shown = shown if len(shown) < 250 else f"{shown[:247]}..."
        lines.append(f"| {layout.name} | {layout.expected} | {'' if is_right else '**differs** '}{_cell(shown)} |")
        print(lines[-1], flush=True)
    text = f"{len(LAYOUTS)} folders, {wrong} not as expected.\n\n" + "\n".join(lines)
    if args.output:
        from page_section import replace_section

        replace_section(args.output, "layouts", text)
    sys.exit(bool(wrong))


def _cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def run(words):
    """(exit code, last line on stderr) of a command."""
    from keras_tricks import cli

    error = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
            cli.run(cli.parse(["keras-tricks", *words]))
    except SystemExit as stopped:
        return stopped.code, error.getvalue().strip().splitlines()[-1].removeprefix("keras-tricks: ")
    return 0, ""


if __name__ == "__main__":
    main()
