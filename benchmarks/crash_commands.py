"""Kills every command that writes at times spread over its run, runs it again, and compares with an uninterrupted one.

Run      python benchmarks/crash_commands.py [--kills 10] [--commands train,export] [--output crash_commands] [--seed 0]
Work     the commands of `COMMANDS` on a network of 0.02 MB and 256 of scikit-learn's digits, one or two epochs each.
Method   Each command first runs without interruption. Then it receives SIGKILL: the moments are spread evenly over its
         duration, start and final export included; every second kill waits from there until a file is being written.
         After each kill every file that a reader trusts is opened (`check`). After two to four kills the same command
         line runs to its end; its result must equal the uninterrupted one: tensors and arrays bit by bit, files of
         data by their sha256, rows of tables without times. Of an export, states of random generators do not count.
Speed    Every fourth kill is of a fresh `python -m keras_tricks`. The others are of processes forked from one that has
         imported TensorFlow, Keras and the package, and has done nothing else; they skip the imports only.
Phases   Where each kill fell (`phase`): before the command changed a file, while a checkpoint, an export or another
         file was being written, between two writes, or after the last one.
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
import pickle
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Callable

import filelock
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
RECIPE = {
    "name": "tiny", "seed": 3,
    "data": {"source": "digits", "image_size": 8, "eval_crop": "whole", "mean": [78, 78, 78], "std": [96, 96, 96],
             "train_images": 256, "workers": 1},
    "augment": {"crop": "pad", "pad": 1, "flip": False, "mixup_alpha": 0.2},
    "model": {"name": "test_resnet", "options": {"stem": "cifar", "dropout_rate": 0.1}},
    "loss": {"label_smoothing": 0.1},
    "schedule": {"epochs": 2, "batch_size": 64, "base_learning_rate": 0.2, "warmup_epochs": 0.5, "decay": "cosine"},
    "train": {"checkpoint_steps": 2}, "export": {"formats": ["keras", "saved_model"]},
}
TIMES = ("images_per_s", "data_wait", "seconds", "minutes", "date")
LOGS = ("log.txt", "events.out", ".log")  # lines are appended as they come
COUNTED = ("kills", "while_writing", "finished_again", "uninterrupted_after_all")
LOCKS = (".lock", ".owner")  # of a run folder; they name the process that holds it


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line, and what a folder must hold before it starts."""

    words: Callable  # (folder to write, folder with finished runs) -> words
    prepare: Callable = lambda out, made: None


def half_trained(out, made):
    shutil.copytree(made / "half", out / "run", dirs_exist_ok=True)


def exported(out, made):
    shutil.copytree(made / "export", out / "export", dirs_exist_ok=True)


TINY = "tiny.json"
COMMANDS = {
    "train": Command(lambda out, made: ["train", TINY, "--output", out / "run", "--resume"]),
    "resume": Command(lambda out, made: ["train", "--resume", out / "run", "--set", "schedule.epochs=2", "--changes",
                                         "new"], half_trained),
    "export": Command(lambda out, made: ["export", made / "a", "--format", "keras,saved_model", "--output",
                                         out / "export"]),
    "export_hub": Command(lambda out, made: ["export", made / "a", "--layout", "huggingface", "--format", "keras",
                                             "--output", out / "export"]),
    "export_again": Command(lambda out, made: ["export", made / "a", "--format", "keras,saved_model", "--overwrite",
                                               "--output", out / "export"], exported),
    "report": Command(lambda out, made: ["report", made / "a", "--output", out / "report.html"]),
    "compare": Command(lambda out, made: ["compare", made / "a", made / "b", "--output", out / "compare.png"]),
    "ablate": Command(lambda out, made: ["ablate", TINY, "--remove", "label_smoothing", "--seeds", "1", "--set",
                                         "schedule.epochs=1", "--set", "export.formats=[]", "--output",
                                         out / "ablation"]),
    "scale": Command(lambda out, made: [
        "scale", "--widths", "0.25", "--depths", "26", "--resolutions", "32", "48", "--recipe", "quickstart", "--set",
        "schedule.batch_size=128", "--set", "data.train_images=256", "--train", "epochs=1", "--output",
        out / "scaling"]),
    "data_pack": Command(lambda out, made: ["data", "pack", "digits", "--shard-mib", "1", "--output", out / "shards"]),
    "reproduce": Command(lambda out, made: ["reproduce", made / "b", "--output", out / "run"]),
    "predict": Command(lambda out, made: ["predict", made / "a", made / "images", "--embeddings", out / "rows.npy"]),
    "plan": Command(lambda out, made: ["plan", TINY, "--plot", out / "plan.png"]),
    "inspect": Command(lambda out, made: ["inspect", "test_resnet", "--image-size", "16", "--plot", out / "plot.png"]),
    "port": Command(lambda out, made: ["port", made / "args.yaml", "--output", out / "recipe.json"]),
}


# --- processes --------------------------------------------------------------------------------------------------------


class Forked:
    """A command in a process forked from this one, with the methods of `subprocess.Popen` that are used here."""

    def __init__(self, words, folder, log):
        self.returncode = None
        self.pid = os.fork()
        if not self.pid:
            code = 1
            try:
                code = run_here(words, folder, log)
            finally:
                os._exit(code)

    def poll(self, options=os.WNOHANG):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self):
        return self.poll(options=0)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


def run_here(words, folder, log):
    """Runs a command line in this process, as `python -m keras_tricks` does. Returns the exit code."""
    import atexit

    sys.orig_argv[:] = [sys.executable, "-m", "keras_tricks", *words]  # the program is silent while libraries load
    os.chdir(folder)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from keras_tricks import cli

    try:
        cli.main(["keras-tricks", *words])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def import_everything():
    """What each command imports, before processes are forked. No operation runs here: TensorFlow starts no thread."""
    import tensorflow  # noqa: F401

    import keras_tricks

    keras_tricks.import_library()
    import keras_tricks.training  # noqa: F401


def in_child(function, *args):
    """Calls a function in a process forked from this one, which stays free of TensorFlow's state and threads."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            try:
                answer = function(*args), None
            except SystemExit as fault:
                answer = None, str(fault)
            except Exception:
                answer = None, traceback.format_exc()
            with os.fdopen(writing, "wb") as file:
                pickle.dump(answer, file)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        value, error = pickle.load(file)
    os.waitpid(pid, 0)
    if error:
        raise SystemExit(error)
    return value


def start(command, out, made, forked=True):
    words = [str(word) for word in COMMANDS[command].words(out, made)]
    log = out.with_suffix(".log")
    if forked:
        return Forked(words, made, log)
    with open(log, "a") as file:
        return subprocess.Popen([sys.executable, "-m", "keras_tricks", *words], cwd=made, stdout=file, stderr=file,
                                env={**os.environ, "PYTHONPATH": str(ROOT)})


def fresh(command, out, made):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    COMMANDS[command].prepare(out, made)


def finish(command, out, made, forked=True):
    """Runs a command to its end. Returns the seconds it took."""
    began = time.perf_counter()
    process = start(command, out, made, forked)
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
    (made / TINY).write_text(json.dumps(RECIPE))
    for name, options in (("a", []), ("b", ["--seed", "1", "--set", "schedule.epochs=1"]),
                          ("half", ["--set", "schedule.epochs=1"])):
        if not (made / f"{name}.done").exists():
            shutil.rmtree(made / name, ignore_errors=True)
            words = ["train", TINY, "--set", "export.formats=[]", *options, "--output", str(made / name)]
            if Forked(words, made, made / f"{name}.log").wait():
                raise SystemExit(f"no run to begin with: {made / name}.log")
            (made / f"{name}.done").touch()
    if not (made / "export.done").exists():
        shutil.rmtree(made / "export", ignore_errors=True)
        if Forked(["export", str(made / "a"), "--output", str(made / "export")], made, made / "export.log").wait():
            raise SystemExit(f"no export to begin with: {made / 'export.log'}")
        (made / "export.done").touch()
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


def is_generator(array):
    """Whether an array is the state of a random generator: `export` starts them anew, and a prediction uses none."""
    return array.dtype.kind in "iu" and array.shape == (2,)


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
                                if isinstance(item, h5py.Dataset) and not is_generator(item) else None)
            return found
    if path.name == "variables.index":
        import tensorflow as tf

        reader = tf.train.load_checkpoint(str(path.with_suffix("")))
        arrays = {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
        return {name: array.tobytes() for name, array in arrays.items() if not is_generator(array)}
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


def compare(whole, killed):
    """The temporary files that kills left. Raises if a result differs from the uninterrupted one."""
    check(killed)
    expected, found = result(whole), result(killed)
    different = [name for name in {**expected, **found} if name not in expected or name not in found
                 or expected[name] != found[name]]
    if different:
        raise SystemExit(f"{len(different)} files differ after kills, such as {different[:3]} ({killed})")
    return sorted(without_process(p.relative_to(killed)) for p in killed.rglob("*")
                  if not is_trusted(p, killed) and not any(w in p.name for w in LOGS) and p.name not in LOCKS)


def without_process(path):
    return re.sub(r"\.\d+\.", ".PROCESS.", str(path))


# --- kills ------------------------------------------------------------------------------------------------------------


def entries(out):
    """{path: time of its last change} of everything in a folder except logs and locks."""
    found = {}
    for path in out.rglob("*"):
        try:
            if path.name not in LOCKS and not any(word in path.name for word in LOGS):
                found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return found


def is_temporary(path):
    return any(".partial" in part or part.startswith("partial_") or ".tmp" in part for part in path.parts)


def being_written(out, before):
    """Files with a temporary name that were not there before the process started."""
    return [path.relative_to(out) for path, when in entries(out).items()
            if is_temporary(path.relative_to(out)) and before.get(path) != when]


def phase(out, before, last):
    """Where in its work a process is that was killed.

    Args:
        out: folder that it writes.
        before: `entries` before it started.
        last: name of the file that an uninterrupted command writes last.
    """
    writing = [path.as_posix() for path in being_written(out, before)]
    if any("checkpoints" in path for path in writing):
        return "writing a checkpoint"
    if any("export" in path or "saved_model" in path for path in writing):
        return "writing an export"
    if writing:
        return "writing another file"
    changed = [path for path, when in entries(out).items() if before.get(path) != when and path.is_file()]
    if not changed:
        return "start"
    return "after the last file" if any(path.relative_to(out).as_posix() == last for path in changed) else "between"


def kill_once(process, out, before, seconds, while_writing):
    """Kills a process after some seconds, or at its next write. Returns whether it was killed."""
    end = time.perf_counter() + seconds
    while process.poll() is None and time.perf_counter() < end:
        time.sleep(0.002)
    while while_writing and process.poll() is None and not being_written(out, before):
        pass
    if process.poll() is not None:
        return False
    process.kill()
    process.wait()
    return True


def moments(kills, numbers):
    """[(share of the duration, wait for a write)] for each kill, spread evenly, in a random order."""
    found = [((i + numbers.random()) / kills, i % 2 == 1) for i in range(kills)]
    numbers.shuffle(found)
    return found


def uninterrupted(command, made, folder):
    """(seconds of a fresh process, seconds of a forked one, file that is written last)."""
    whole, notes = folder / f"{command}_whole", folder / f"{command}_whole.json"
    if not notes.exists():
        fresh(command, whole, made)
        alone = finish(command, whole, made, forked=False)
        first = in_child(result, whole)
        fresh(command, whole, made)
        forked = finish(command, whole, made)
        if in_child(result, whole) != first:
            raise SystemExit(f"a forked process has another result than a fresh one ({whole})")
        files = {path: when for path, when in entries(whole).items() if path.is_file()}
        last = max(files, key=files.get).relative_to(whole).as_posix()
        notes.write_text(json.dumps({"alone": alone, "forked": forked, "last": last}))
    found = json.loads(notes.read_text())
    return found["alone"], found["forked"], found["last"]


def run_command(command, kills, made, folder, numbers):
    whole, killed = folder / f"{command}_whole", folder / f"{command}_killed"
    alone, forked, last = uninterrupted(command, made, folder)
    print(f"{command}: {alone:.1f} s uninterrupted, {forked:.1f} s forked", flush=True)
    counts = dict.fromkeys(COUNTED, 0) | {"phases": {}, "left_over": []}
    left = moments(kills, numbers)
    fresh(command, killed, made)
    until_the_end = numbers.randint(2, 4)
    while left and counts["uninterrupted_after_all"] < 2 * kills:
        share, in_write = left.pop()
        is_forked, before = (counts["kills"] + counts["uninterrupted_after_all"]) % 4 > 0, entries(killed)
        process = start(command, killed, made, is_forked)
        seconds = share * (forked if is_forked else alone)
        if kill_once(process, killed, before, seconds, in_write):
            where = phase(killed, before, last)
            in_child(check, killed)
            counts["kills"] += 1
            counts["while_writing"] += where.startswith("writing")
            counts["phases"][where] = counts["phases"].get(where, 0) + 1
            until_the_end -= 1
            if until_the_end and left:
                continue
            finish(command, killed, made)
            counts["finished_again"] += 1
        else:  # the killed ones before had done part of its work: it came to its end
            expect_success(command, process, killed)
            counts["uninterrupted_after_all"] += 1
            left.insert(0, (0.8 * share, in_write))
        counts["left_over"] = sorted({*counts["left_over"], *in_child(compare, whole, killed)})
        fresh(command, killed, made)
        until_the_end = numbers.randint(2, 4)
    print(f"{command}: {counts}", flush=True)
    return counts


def added(counts, further):
    """The sum of two counts of a command."""
    phases = {key: counts["phases"].get(key, 0) + further["phases"].get(key, 0)
              for key in {**counts["phases"], **further["phases"]}}
    return {key: counts[key] + further[key] for key in COUNTED} | {
        "phases": dict(sorted(phases.items())), "left_over": sorted({*counts["left_over"], *further["left_over"]})}


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
    import_everything()
    with filelock.FileLock(folder / ".lock"):  # several calls may share a folder
        make(folder / "made")
    faults = []
    for command in args.commands.split(","):
        try:
            counts = run_command(command, args.kills, folder / "made", folder, random.Random(f"{args.seed} {command}"))
        except SystemExit as fault:
            print(f"{command}: FAULT: {fault}", flush=True)
            faults.append(command)
            continue
        with filelock.FileLock(folder / ".lock"):
            found = json.loads(path.read_text()) if path.exists() else {"commands": {}}
            before = found["commands"].get(command, dict.fromkeys(COUNTED, 0) | {"phases": {}, "left_over": []})
            found["commands"][command] = added(before, counts)
            every = found["commands"].values()
            total = {key: sum(c[key] for c in every) for key in COUNTED}
            phases = {}
            for count in every:
                phases = added({**total, "phases": phases, "left_over": []},
                               {**total, "phases": count["phases"], "left_over": []})["phases"]
            found = {**total, "phases": phases, "versions": versions(), "commands": found["commands"]}
            path.write_text(json.dumps(found, indent=1) + "\n")
    if faults:
        raise SystemExit(f"faults in {', '.join(faults)}")
    print(f"{found['kills']} kills, {found['while_writing']} of them while a file was written: the same results")


if __name__ == "__main__":
    main()
