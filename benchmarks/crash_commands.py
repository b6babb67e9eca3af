"""Kills every command that writes at random times, runs it again, and compares the result with an uninterrupted one.

Run      python benchmarks/crash_commands.py [--kills 10] [--commands train,export] [--output crash_commands] [--seed 0]
Work     the commands of `COMMANDS` on `quickstart`, one or two epochs each.
Method   Each command first runs without interruption. Then it receives SIGKILL: every second time at a random moment of
         its whole duration, start and final export included, otherwise as soon as a file is being written after a
         random moment. After each kill every file that a reader trusts is opened (`check`). After two to four kills
         the same command line runs to its end; its result must equal the uninterrupted one: tensors and arrays bit by
         bit, files of data by their sha256, rows of tables without times.
Result   <output>/crash_commands.json, to which further calls, with another --seed, add. `--kills` is of each command.
"""

import argparse
import csv
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import platform
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable

import filelock
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
TINY = ["--set", "schedule.epochs=2", "--set", "train.checkpoint_steps=4"]
FORMATS = ["--set", 'export.formats=["keras","saved_model"]']
TIMES = ("images_per_s", "data_wait", "seconds", "minutes", "date")
LOGS = ("log.txt", "events.out", ".log")  # lines are appended as they come
COUNTED = ("kills", "while_writing", "before_the_first_file", "finished_again")
LOCKS = (".lock", ".owner")  # of a run folder; they name the process that holds it


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line, and what a folder must hold before it starts."""

    words: Callable  # (folder to write, folder with finished runs) -> words
    prepare: Callable = lambda out, made: None


def half_trained(out, made):
    shutil.copytree(made / "half", out / "run", dirs_exist_ok=True)


COMMANDS = {
    "train": Command(lambda out, made: ["train", "quickstart", "--output", out / "run", "--resume", *TINY, *FORMATS]),
    "resume": Command(lambda out, made: ["train", "--resume", out / "run", *TINY, *FORMATS, "--changes", "new"],
                      half_trained),
    "export": Command(lambda out, made: ["export", made / "a", "--format", "keras,saved_model", "--output",
                                         out / "export"]),
    "report": Command(lambda out, made: ["report", made / "a", "--output", out / "report.html"]),
    "compare": Command(lambda out, made: ["compare", made / "a", made / "b", "--output", out / "compare.png"]),
    "ablate": Command(lambda out, made: ["ablate", "quickstart", "--remove", "mixup", "--seeds", "1", "--set",
                                         "schedule.epochs=1", "--output", out / "ablation"]),
    "scale": Command(lambda out, made: [
        "scale", "--widths", "0.25", "--depths", "26", "--resolutions", "32", "48", "--recipe",
        "quickstart", "--set", "schedule.batch_size=256", "--set", "data.train_images=256", "--train", "epochs=1",
        "--output", out / "scaling"]),
    "data_pack": Command(lambda out, made: ["data", "pack", "digits", "--output", out / "shards"]),
    "reproduce": Command(lambda out, made: ["reproduce", made / "b", "--output", out / "run"]),
    "predict": Command(lambda out, made: ["predict", made / "a", made / "images", "--embeddings", out / "rows.npy"]),
    "port": Command(lambda out, made: ["port", made / "args.yaml", "--output", out / "recipe.json"]),
}


def start(command, out, made):
    words = [str(word) for word in COMMANDS[command].words(out, made)]
    log = open(out.with_suffix(".log"), "a")
    return subprocess.Popen([sys.executable, "-m", "keras_tricks", *words], cwd=made, stdout=log, stderr=log,
                            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"})


def fresh(command, out, made):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    COMMANDS[command].prepare(out, made)


def finish(command, out, made):
    """Runs a command to its end. Returns the seconds it took."""
    began = time.perf_counter()
    process = start(command, out, made)
    process.wait()
    expect_success(command, process, out)
    return time.perf_counter() - began


def expect_success(command, process, out):
    """Raises unless a process ended well. What a killed one had finished may be refused."""
    lines = out.with_suffix(".log").read_text(errors="replace").splitlines()
    last = lines[-1] if lines else ""
    if process.returncode and not (process.returncode == 2 and "already: give --output " in last):
        raise SystemExit(f"{command} ended with {process.returncode}: {last} ({out.with_suffix('.log')})")


def make(made):
    """Finished runs, images and arguments that the commands read."""
    made.mkdir(parents=True, exist_ok=True)
    train = [sys.executable, "-m", "keras_tricks", "train", "quickstart", *TINY, "--set", "export.formats=[]"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    for name, options in (("a", []), ("b", ["--seed", "1", "--set", "schedule.epochs=1"]),
                          ("half", ["--set", "schedule.epochs=1"])):
        if not (made / name / "checkpoints" / "best.safetensors").exists():
            subprocess.run([*train, *options, "--output", str(made / name)], cwd=made, env=env, check=True,
                           capture_output=True)
    from PIL import Image

    (made / "images").mkdir(exist_ok=True)
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 255, (16, 16, 3), "uint8")
        Image.fromarray(pixels).save(made / "images" / f"{i}.png")
    (made / "args.yaml").write_text("model: resnet50\nbatch_size: 128\nepochs: 90\nlr: 0.1\nopt: sgd\n")


# --- what a folder holds ----------------------------------------------------------------------------------------------


def is_trusted(path, out):
    parts = path.relative_to(out).parts
    hidden = any(part.startswith((".", "partial_")) for part in parts)
    return not hidden and not any(word in path.name for word in LOGS)


def check(out):
    """Opens every file that a reader trusts; raises if one is half-written."""
    for path in sorted(p for p in out.rglob("*") if p.is_file() and is_trusted(p, out)):
        contents(path)
    for folder in out.rglob("saved_model"):
        if is_trusted(folder, out) and not (folder / "saved_model.pb").exists():
            raise SystemExit(f"{folder} is half-written")
    for index in out.rglob("dataset.json"):
        if is_trusted(index, out):
            for split in json.loads(index.read_text())["splits"].values():
                for shard in split["shards"]:
                    if hashlib.sha256((index.parent / shard["file"]).read_bytes()).hexdigest() != shard["sha256"]:
                        raise SystemExit(f"{index.parent / shard['file']} is half-written")


def contents(path):
    """What counts in a file: its arrays, its rows without times, or its bytes. Raises if it is not whole."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        from keras_tricks.weights import safetensors_io

        return {name: array.tobytes() for name, array in safetensors_io.read(path)[0].items()}
    if path.suffix == ".keras":
        import h5py

        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.testzip():
                raise SystemExit(f"{path} is half-written")
            found = {}
            with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
                file.visititems(lambda name, item: found.update({name: item[()].tobytes()})
                                if isinstance(item, h5py.Dataset) else None)
            return found
    if path.name == "variables.index":
        import tensorflow as tf

        reader = tf.train.load_checkpoint(str(path.with_suffix("")))
        return {name: np.asarray(reader.get_tensor(name)).tobytes() for name in reader.get_variable_to_shape_map()}
    if path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(data.decode())))
        if any(len(row) != len(rows[0]) for row in rows) or not data.endswith((b"\n", b"\r\n")):
            raise SystemExit(f"{path} is half-written")
        return [[value for name, value in zip(rows[0], row, strict=True) if name not in TIMES] for row in rows]
    if path.suffix == ".json":
        found = json.loads(data)
        return None if path.name == "env.json" else found
    if path.suffix == ".png":
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(data))).shape
    if path.suffix == ".html":
        if not data.rstrip().endswith(b"</html>"):
            raise SystemExit(f"{path} is half-written")
        return None  # times and paths
    if path.suffix in (".npy", ".npz"):
        np.load(io.BytesIO(data))
    if path.suffix in (".md", ".pb") or path.name.startswith("variables."):  # names of paths, order of a graph
        return None
    return hashlib.sha256(data).hexdigest()


def result(out):
    """{relative path: what counts in it} of a folder."""
    return {str(p.relative_to(out)): contents(p) for p in sorted(out.rglob("*")) if p.is_file() and is_trusted(p, out)}


def compare(command, whole, killed):
    check(killed)
    expected, found = result(whole), result(killed)
    different = [name for name in {**expected, **found} if name not in expected or name not in found
                 or expected[name] != found[name]]
    if different:
        raise SystemExit(f"{command}: {len(different)} files differ after kills, such as {different[:3]} ({killed})")
    return sorted(str(p.relative_to(killed)) for p in killed.rglob("*")
                  if not is_trusted(p, killed) and not any(w in p.name for w in LOGS) and p.name not in LOCKS)


# --- kills ------------------------------------------------------------------------------------------------------------


def is_writing(out):
    """Whether a file is being written: one with a temporary name."""
    return any(".partial" in p.name or p.name.startswith("partial_") or ".tmp" in p.name for p in out.rglob("*"))


def kill_once(process, out, seconds, while_writing):
    """Kills a process after some seconds, or at the next write. Returns (was killed, was killed in a write)."""
    end = time.perf_counter() + seconds
    while process.poll() is None and time.perf_counter() < end:
        time.sleep(0.002)
    while while_writing and process.poll() is None and not is_writing(out):
        pass
    if process.poll() is not None:
        return False, False
    process.kill()
    process.wait()
    return True, is_writing(out)


def run_command(command, kills, made, folder, numbers):
    whole, killed = folder / f"{command}_whole", folder / f"{command}_killed"
    duration = folder / f"{command}_seconds.txt"
    if not duration.exists():
        fresh(command, whole, made)
        duration.write_text(f"{finish(command, whole, made):.2f}\n")
        check(whole)
    length = float(duration.read_text())
    print(f"{command}: {length:.1f} s uninterrupted", flush=True)
    counts = dict.fromkeys(COUNTED, 0) | {"left_over": []}
    while counts["kills"] < kills:
        fresh(command, killed, made)
        wanted, misses = min(numbers.randint(2, 4), kills - counts["kills"]), 0
        while wanted and misses < 5:
            before = set(killed.rglob("*"))
            process = start(command, killed, made)
            # Half of the moments are late: much of a short command is the start of Python and TensorFlow.
            moment = numbers.uniform(0, length) if numbers.random() < 0.5 else numbers.uniform(0.5, 1) * length
            was_killed, in_write = kill_once(process, killed, moment, (counts["kills"] + misses) % 2 == 1)
            if not was_killed:
                expect_success(command, process, killed)
                misses += 1
                compare(command, whole, killed)
                fresh(command, killed, made)
                continue
            check(killed)
            wanted -= 1
            counts["kills"] += 1
            counts["while_writing"] += in_write
            counts["before_the_first_file"] += set(killed.rglob("*")) == before
        finish(command, killed, made)
        counts["finished_again"] += 1
        counts["left_over"] = sorted({*counts["left_over"], *compare(command, whole, killed)})
        print(f"{command}: {counts}", flush=True)
    return counts


def added(counts, further):
    """The sum of two counts of a command."""
    found = {key: counts[key] + further[key] for key in counts}
    return found | {"left_over": sorted(set(found["left_over"]))}


def versions():
    import importlib.metadata

    return {"python": platform.python_version(), "cpus": os.cpu_count(),
            **{name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "numpy")}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="of each command")
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--output", type=pathlib.Path, default="crash_commands")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = args.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "crash_commands.json"
    with filelock.FileLock(folder / ".lock"):  # several calls may share a folder
        make(folder / "made")
    for command in args.commands.split(","):
        counts = run_command(command, args.kills, folder / "made", folder, random.Random(f"{args.seed} {command}"))
        with filelock.FileLock(folder / ".lock"):
            found = json.loads(path.read_text()) if path.exists() else {"commands": {}}
            before = found["commands"].get(command, counts | dict.fromkeys(COUNTED, 0))
            found["commands"][command] = added(before, counts)
            every = found["commands"].values()
            found = {"kills": sum(c["kills"] for c in every), "while_writing": sum(c["while_writing"] for c in every),
                     "finished_again": sum(c["finished_again"] for c in every), "versions": versions(),
                     "commands": found["commands"]}
            path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{found['kills']} kills, {found['while_writing']} of them while a file was written: the same results")


if __name__ == "__main__":
    main()
