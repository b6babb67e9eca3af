"""Kills a run at random times, resumes it each time, and compares the result with that of an uninterrupted run.

Run      python benchmarks/crash_test.py [--kills 50] [--output crash_test] [--seed 0]
         KERAS_BACKEND=jax python benchmarks/crash_test.py --kills 20       the same on JAX
Work     `quickstart` for 12 epochs with accumulation, a weight average, a batch that grows, float16 and dropped paths;
         a checkpoint every 2 steps, so that many kills happen while one is written.
Method   One process trains without interruption. Another receives SIGKILL after a random time, repeatedly, and is
         resumed with `--resume`; every second kill waits until a checkpoint is being written. After the given number of
         kills it runs to its end. Then every tensor of the last checkpoint is compared bit by bit, and the rows of
         `summary.csv` without their times.
"""

import argparse
import csv
import importlib.metadata
import json
import os
import pathlib
import random
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
SETTINGS = [
    "schedule.epochs=12", "schedule.mode=increase_batch", "schedule.decay=step", "schedule.milestones=[4,8]",
    "schedule.factor=0.5", "schedule.batch_size=32", "schedule.max_batch_size=128", "train.max_batch_per_replica=32",
    "train.precision=mixed_float16", "train.checkpoint_steps=2", "optimizer.ema_decay=0.99",
    'model.options={"drop_path_rate":0.1}', "export.formats=[]",
]
TIMES = ("images_per_s", "data_wait", "seconds")


def command(folder):
    arguments = [sys.executable, "-m", "keras_tricks", "train", "quickstart", "--output", str(folder), "--resume"]
    return [*arguments, *(argument for setting in SETTINGS for argument in ("--set", setting))]


def start(folder):
    log = open(folder.with_suffix(".log"), "a")
    return subprocess.Popen(command(folder), cwd=ROOT, stdout=log, stderr=log)


def position(folder):
    """The progress of a run as text: rows of the summary, and files of checkpoints."""
    rows = len(list(csv.DictReader(open(folder / "summary.csv")))) if (folder / "summary.csv").exists() else 0
    return f"{rows} epochs, {sorted(p.name for p in (folder / 'checkpoints').glob('*'))}"


def rows_without_times(folder):
    with open(folder / "summary.csv") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def tensors_of(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "checkpoints" / "last.safetensors")


def versions():
    """The backend of the runs and the versions that decide their bits."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    names = ("keras", backend, "numpy", *(["jaxlib"] if backend == "jax" else []))
    return {"backend": backend, "versions": {name: importlib.metadata.version(name) for name in names}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--output", type=pathlib.Path, default="crash_test")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    whole, killed = args.output.resolve() / "whole", args.output.resolve() / "killed"
    whole.parent.mkdir(parents=True, exist_ok=True)
    start_time = time.perf_counter()
    if start(whole).wait():
        raise SystemExit(f"the run failed: see {whole.with_suffix('.log')}")
    length = time.perf_counter() - start_time
    print(f"uninterrupted: {length:.0f} s", flush=True)

    numbers, mid_write, kills = random.Random(args.seed), 0, 0
    while kills < args.kills:
        process = start(killed)
        checkpoints = killed / "checkpoints"
        started = time.time()
        # Starting takes most of the time, so the random time counts from the first new checkpoint.
        while process.poll() is None and time.time() - started < 120:
            files = list(checkpoints.glob("last.safetensors")) + list(checkpoints.glob(".*partial"))
            if any(f.stat().st_mtime > started for f in files if f.exists()):
                break
            time.sleep(0.01)
        time.sleep(numbers.uniform(0, 4.0))
        mid_write_kill, deadline = kills % 2 == 1, time.time() + 20
        while mid_write_kill and process.poll() is None and not any(checkpoints.glob(".*")) and time.time() < deadline:
            pass
        if process.poll() is not None:
            print("finished before the kill: starting over", flush=True)
            if process.returncode:
                raise SystemExit(f"the run failed: see {killed.with_suffix('.log')}")
            compare(whole, killed)
            killed.rename(killed.with_name(f"killed_{kills}"))
            continue
        process.kill()
        process.wait()
        kills += 1
        partial = bool(list(checkpoints.glob(".*")))
        mid_write += partial
        print(f"kill {kills}: {position(killed)}{', while writing a checkpoint' if partial else ''}", flush=True)
    if start(killed).wait():
        raise SystemExit(f"the run failed: see {killed.with_suffix('.log')}")
    compare(whole, killed)
    summary = {"kills": kills, "while_writing": mid_write, "seconds_uninterrupted": round(length), **versions()}
    (args.output / "crash_test.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(f"{kills} kills, {mid_write} of them while writing a checkpoint: the same bits")


def compare(whole, killed):
    expected, resumed = tensors_of(whole), tensors_of(killed)
    different = [n for n in expected if n not in resumed or not np.array_equal(expected[n], resumed[n])]
    if different or expected.keys() != resumed.keys():
        raise SystemExit(f"{len(different)} of {len(expected)} tensors differ, such as {different[:3]}")
    if rows_without_times(whole) != rows_without_times(killed):
        raise SystemExit("the summaries differ")


if __name__ == "__main__":
    main()
