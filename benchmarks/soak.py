"""A long run of short epochs, to see whether memory, open files and traces grow.

Run      python benchmarks/soak.py [--minutes 120] [--output soak.json]
Work     `quickstart` with a weight average and a checkpoint every 10 steps, epoch after epoch, until the time is over.
         SIGTERM then stops it, which must write a checkpoint.
Method   Resident memory and open files of the process are sampled every 10 seconds. The slopes are those of straight
         lines fitted to the memory after the first tenth of the time, and in its last half. Traces are those of the
         training step.
"""

import argparse
import json
import os
import pathlib
import signal
import sys
import tempfile
import threading
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--output", type=pathlib.Path, default="soak.json")
    args = parser.parse_args()
    import keras

    import keras_tricks as kt

    samples, traces = [], []
    train_step = keras.Model.train_step

    def counted(model, *arguments):
        traces.append(time.monotonic())  # Python calls it only during tracing
        return train_step(model, *arguments)

    keras.Model.train_step = counted

    def watch():
        start = time.monotonic()
        while time.monotonic() - start < 60 * args.minutes:
            time.sleep(10)
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
            samples.append((time.monotonic() - start, pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
                            len(os.listdir("/proc/self/fd"))))
            args.output.write_text(json.dumps({"traces": len(traces), "samples": samples}) + "\n")  # if it is killed
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    recipe = kt.load_recipe("quickstart").replace(
        schedule={"epochs": 100_000}, optimizer={"ema_decay": 0.999}, train={"checkpoint_steps": 10})
    with tempfile.TemporaryDirectory() as folder:
        try:
            kt.train(recipe, folder, verbose=0)
        except kt.callbacks.Interrupted as error:
            print(error)
        rows = len((pathlib.Path(folder) / "summary.csv").read_text().splitlines()) - 1
    seconds, memory, files = np.array(samples).T

    def slope(since):
        late = seconds > since * seconds[-1]
        return np.polyfit(seconds[late] / 3600, memory[late], 1)[0]

    warm = np.argmax(seconds > seconds[-1] / 10)
    found = {"minutes": args.minutes, "epochs": rows, "traces": len(traces),
             "slope_mib_per_hour": {"after a tenth": slope(0.1), "last half": slope(0.5)},
             "memory_mib": {"after a tenth": memory[warm], "end": memory[-1], "most": memory.max()},
             "open_files": {"after a tenth": files[warm], "end": files[-1]}, "samples": samples}
    args.output.write_text(json.dumps(found) + "\n")
    print(json.dumps({k: v for k, v in found.items() if k != "samples"}, indent=1))


if __name__ == "__main__":
    main()
