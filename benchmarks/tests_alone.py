"""Runs each test file in a process of its own, in the written order and in a random one. Prints what fails.

Run      python benchmarks/tests_alone.py [PATTERN ...] [--seed 1] [--seconds 300] [--output tests_alone.json]
         PATTERN chooses files, such as `tests/data/*.py`; the default is all.
Result   JSON: {file: {"alone": summary, "shuffled": summary}}; a file that is there already is not run again.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(path, seconds, seed=None):
    """The last line of pytest on a file, with the names of failed tests."""
    options = [] if seed is None else ["-p", "support.shuffle"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "SHUFFLE": str(seed)}
    words = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", *options, str(path)]
    try:
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"not done after {seconds} s"
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    if done.returncode == 5:
        return "no fast test"
    return "passed" if done.returncode == 0 else "; ".join(failed or lines[-1:] or done.stderr.splitlines()[-1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patterns", nargs="*", default=["tests/**/test_*.py"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=300, help="for one file")
    parser.add_argument("--output", type=pathlib.Path, default="tests_alone.json")
    args = parser.parse_args()
    found = json.loads(args.output.read_text()) if args.output.exists() else {}
    for path in sorted({path for pattern in args.patterns for path in ROOT.glob(pattern)}):
        name = path.relative_to(ROOT).as_posix()
        if name in found:
            continue
        found[name] = {"alone": run(path, args.seconds), "shuffled": run(path, args.seconds, args.seed)}
        args.output.write_text(json.dumps(found, indent=1) + "\n")
        print(name, found[name], flush=True)
    wrong = {name: result for name, result in found.items()
             if not all(text in ("passed", "no fast test") for text in result.values())}
    print(f"{len(found)} files, {len(wrong)} with a failure")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
