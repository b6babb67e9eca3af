"""Runs each test file in a process of its own, in the written order or in a random one. Prints what fails.

Run      python benchmarks/tests_alone.py [PATTERN ...] [--seed 1] [--forked] [--minutes 30] [--output tests_alone.json]
         PATTERN chooses files, such as `tests/data/*.py`; the default is all. Without --seed in the written order.
Method   `--forked` forks the processes from one that has imported pytest, TensorFlow and Keras and has done nothing
         else: files share these imports, and no state of other tests or of the package. Otherwise each process starts
         Python. Only tests that run by default are run.
Result   JSON: {file: {"order": "written" or "seed 1", "forked": bool, "seconds": of the process, "result": "passed",
         "no fast test", or what failed}}; a file that is there already is not run again, unless it failed.
"""

import argparse
import json
import os
import pathlib
import signal
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
GOOD = ("passed", "no fast test")


def words(path, seed):
    options = [] if seed is None else ["-p", "support.shuffle"]
    return ["-n", "0", "-q", "--durations=0", "--durations-min=99", "-p", "no:cacheprovider", *options, str(path)]


def run_pytest(path, seed, forked, output):
    """Becomes the process that runs a file; its output goes to a file descriptor. Does not return."""
    os.chdir(ROOT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "SHUFFLE": str(seed)}
    if not forked:
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *words(path, seed)])
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    sys.argv[:] = ["pytest", *words(path, seed)]
    import pytest

    code = pytest.main(words(path, seed))
    sys.stdout.flush()
    os._exit(int(code))


def run(path, seed, forked, seconds):
    """What came of a test file: a text of `GOOD`, or the names of failed tests."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            try:
                run_pytest(path, seed, forked, output.fileno())
            finally:
                os._exit(99)
        end, status = time.monotonic() + seconds, None
        while status is None:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                break
            status = None
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return f"not done after {seconds} s"
            time.sleep(0.05)
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return "passed"
    if code == 5:
        return "no fast test"
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return f"{code}: {'; '.join(failed or lines[-1:])}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patterns", nargs="*", default=["tests/**/test_*.py"])
    parser.add_argument("--seed", type=int, help="of a random order")
    parser.add_argument("--forked", action="store_true", help="share the imports of TensorFlow and Keras")
    parser.add_argument("--seconds", type=int, default=300, help="for one file")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no further file after these")
    parser.add_argument("--output", type=pathlib.Path, default="tests_alone.json")
    args = parser.parse_args()
    began = time.monotonic()
    found = json.loads(args.output.read_text()) if args.output.exists() else {}
    if args.forked:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # As tests/conftest.py, before the imports.
        os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
        import keras  # noqa: F401
        import pytest  # noqa: F401
        import tensorflow  # noqa: F401
    for path in sorted({path for pattern in args.patterns for path in ROOT.glob(pattern)}):
        name = path.relative_to(ROOT).as_posix()
        if found.get(name, {}).get("result") in GOOD or time.monotonic() - began > 60 * args.minutes:
            continue
        start = time.monotonic()
        result = run(path, args.seed, args.forked, args.seconds)
        found[name] = {"order": "written" if args.seed is None else f"seed {args.seed}", "forked": args.forked,
                       "seconds": round(time.monotonic() - start, 1), "result": result}
        args.output.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")
        print(name, found[name], flush=True)
    wrong = [name for name, result in found.items() if result["result"] not in GOOD]
    print(f"{len(found)} files, {len(wrong)} with a failure: {', '.join(wrong)}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
