"""The commands of `.ci/run` that run beside each other: each output stays whole, and a failure names its command."""

import os
import pathlib
import subprocess
import sys

PROGRAM = pathlib.Path(__file__).parents[1] / ".ci" / "side_by_side.py"


def side_by_side(*commands):
    done = subprocess.run([sys.executable, PROGRAM], input="\n".join(commands), capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_output_of_each_command_is_whole_and_a_failure_names_the_command():
    code, out, err = side_by_side("echo one; sleep 0.2; echo two", "echo three; false; echo never", "echo four")
    assert code == 1 and err == "failed: echo three; false; echo never\n"
    assert "exit code 0)\none\ntwo\n" in out and "exit code 1)\nthree\n" in out and "exit code 0)\nfour\n" in out


def test_they_run_at_the_same_time_on_one_thread_each(tmp_path):
    wait = "for i in {1..200}; do [ -e %s ] && exit 0; sleep 0.05; done; exit 1"
    first, second = (f"touch {tmp_path}/{own}; {wait % (tmp_path / other)}" for own, other in ("ab", "ba"))
    code, *_ = side_by_side(first, second, 'test -n "$TF_NUM_INTRAOP_THREADS"')
    assert code == 0 or os.cpu_count() == 1
