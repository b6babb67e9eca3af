"""Runs every command that writes on disks that are too small, then again with enough space, and compares the results.

Run      python benchmarks/full_disk.py [--commands train,export] [--sizes 6] [--output full_disk]   (Linux)
Work     the commands of `benchmarks/crash_commands.py`.
Method   Each command first runs without a limit; its folder then has S bytes. It runs again in a tmpfs of several sizes
         between nothing and S. A run that fails must end with an exit code other than 0, in one line on stderr and
         without a traceback, and every file that a reader trusts must be whole. Then the tmpfs grows, the same command
         line runs again, and its result must equal the first one. At last it runs where its finished output leaves no
         space: that must stay as it is, and the process may end with 0 if there is nothing to do.
Result   <output>/full_disk.json, to which further calls add.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import crash_commands
from crash_commands import COMMANDS, in_child

FULL = "keras-tricks: "
PAGE = os.sysconf("SC_PAGE_SIZE")


def used(folder):
    done = subprocess.run(["du", "-s", "--block-size=1", folder], capture_output=True, check=True)
    return int(done.stdout.split()[0])


def mount(out, size, again=""):
    subprocess.run(["mount", *([] if again else ["-t", "tmpfs"]), "-o", f"{again}size={size}",
                    *([] if again else ["tmpfs"]), out], check=True)


def end_of(command, size, out, folder):
    """The exit code of a command and the line it ended with, which is `""` after 0. Raises after other endings."""
    log = out.with_suffix(".log")
    log.unlink(missing_ok=True)
    code = crash_commands.start(command, out, folder / "made").wait()
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [line for line in text.splitlines() if line.startswith(FULL)]
    in_child(crash_commands.check, out)
    if code and ("Traceback" in text or len(lines) != 1):
        raise SystemExit(f"{command} on {size:,} bytes ended with {code} and {len(lines)} lines ({log}): {lines}")
    return code, f"{code}: {lines[0].removeprefix(FULL)}".replace(str(out), "OUTPUT") if code else ""


def attempt(command, size, whole, folder):
    """One command on a disk of `size` bytes, and again with space. Returns the line with which it ended, or `None`."""
    out = folder / f"{command}_small"
    out.mkdir(exist_ok=True)
    mount(out, size)
    try:
        try:
            COMMANDS[command].prepare(out, folder / "made")
        except OSError:
            return "the folder that it starts from does not fit"
        code, line = end_of(command, size, out, folder)
        if code == 0:
            in_child(crash_commands.compare, whole, out)
            return None
        mount(out, 1 << 30, "remount,")
        crash_commands.finish(command, out, folder / "made")
        in_child(crash_commands.compare, whole, out)
        return line
    finally:
        subprocess.run(["umount", out], check=True)


def attempt_over(command, whole, folder):
    """A command where its own finished output leaves no space. Returns the line with which it ended, or `None`."""
    out = folder / f"{command}_small"
    mount(out, 1 << 30)
    try:
        COMMANDS[command].prepare(out, folder / "made")
        crash_commands.finish(command, out, folder / "made")
        size = max(PAGE, used(out))
        mount(out, size, "remount,")
        code, line = end_of(command, size, out, folder)
        in_child(crash_commands.compare, whole, out)
        return line or None
    finally:
        subprocess.run(["umount", out], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--sizes", type=int, default=6)
    parser.add_argument("--output", type=pathlib.Path, default="full_disk")
    args = parser.parse_args()
    if "FULL_DISK_NAMESPACE" not in os.environ:  # where this process may mount
        words = ["unshare", "--map-root-user", "--mount", sys.executable, __file__, *sys.argv[1:]]
        os.execvpe("unshare", words, {**os.environ, "FULL_DISK_NAMESPACE": "1"})
    folder = args.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "full_disk.json"
    crash_commands.import_everything()
    crash_commands.make(folder / "made")
    for command in args.commands.split(","):
        whole = folder / f"{command}_whole"
        crash_commands.fresh(command, whole, folder / "made")
        crash_commands.finish(command, whole, folder / "made")
        space = used(whole)
        sizes = dict.fromkeys(max(PAGE, int(space * (i + 0.5) / args.sizes) // PAGE * PAGE) for i in range(args.sizes))
        found = json.loads(path.read_text()) if path.exists() else {"commands": {}}
        ends = {f"{size:,}": attempt(command, size, whole, folder) for size in sizes}
        ends["its finished output"] = attempt_over(command, whole, folder)
        found["commands"][command] = {"needs": space, "ends": ends}
        every = [end for c in found["commands"].values() for end in c["ends"].values()]
        found = {"disks": len(every), "too_small": sum(end is not None for end in every),
                 "versions": crash_commands.versions(), "commands": found["commands"]}
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(command, json.dumps(found["commands"][command], indent=1), flush=True)
    print(f"{found['too_small']} of {found['disks']} disks were too small: one line each, the same result with space")


if __name__ == "__main__":
    main()
