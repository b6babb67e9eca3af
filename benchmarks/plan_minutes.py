"""The time that `plan --measure` announces against the time of the run: the table of docs/guides/report.md.

Run      python benchmarks/plan_minutes.py [--output docs/guides/report.md] [--only NAME]
Method   For each recipe `keras-tricks plan --measure`, then `keras-tricks train`: one process after the other, each
         timed from the start of the command to its end. No other program should run.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECIPES = {  # name in the table: words of the command
    "quickstart, 24 epochs": ["quickstart"],
    "quickstart with the average of the weights, batch 32, 12 epochs": [
        "quickstart", "--set", "optimizer.ema_decay=0.99", "--set", "schedule.batch_size=32", "--set",
        "schedule.epochs=12"],
    "resnet20 at 32 px, 3 epochs": [
        "quickstart", "--set", "model.name=resnet20", "--set", "data.image_size=32", "--set", "schedule.epochs=3"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, help="page with the markers of plan_minutes")
    parser.add_argument("--only", type=int, help="number of the recipe to run, from 0")
    args = parser.parse_args()
    lines = ["| recipe | `plan`, s | run, s | difference |", "|---|---|---|---|"]
    for number, (name, words) in enumerate(RECIPES.items()):
        if args.only is not None and number != args.only:
            continue
        planned = json.loads(command("plan", *words, "--measure", "--format", "json"))["measured"]
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            command("train", *words, "--output", f"{folder}/run")
            spent = time.perf_counter() - started
        share = planned["seconds"] / spent - 1
        lines.append(f"| {name} | {planned['seconds']:.1f} | {spent:.1f} | {100 * share:+.0f} % |")
        print(lines[-1], {key: round(value, 3) for key, value in planned.items() if "seconds" in key}, flush=True)
    if args.output:
        sys.path.insert(0, str(ROOT / "benchmarks"))
        from page_section import replace_section

        replace_section(args.output, "plan_minutes", "\n".join(lines))


def command(*words):
    """The output of a command of this checkout."""
    return subprocess.run([sys.executable, "-m", "keras_tricks", *words], cwd=ROOT, check=True, capture_output=True,
                          text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}).stdout


if __name__ == "__main__":
    main()
