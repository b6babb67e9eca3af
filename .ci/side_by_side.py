"""Runs the commands on standard input, one a line, as many at a time as there are CPUs.

    python .ci/side_by_side.py <<<$'python examples/a.py\npython examples/b.py'

Prints the output of each command as a whole when it ends. After all have ended, names those that failed; the exit code
is then 1. Each command gets one thread of TensorFlow, because another command uses the other CPU.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed


def run(command):
    start = time.monotonic()
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env={"TF_NUM_INTRAOP_THREADS": "1", **os.environ})
    return done, time.monotonic() - start


def main():
    commands = [line.strip() for line in sys.stdin if line.strip()]
    failed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(run, command): command for command in commands}
        for ended in as_completed(running):
            done, seconds = ended.result()
            print(f"\n-- {running[ended]} ({seconds:.0f} s, exit code {done.returncode})", flush=True)
            sys.stdout.buffer.write(done.stdout)
            sys.stdout.flush()
            if done.returncode:
                failed.append(running[ended])
    for command in failed:
        print(f"failed: {command}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
