"""Runs `keras-tricks data serve` in separate processes. Tests do not wait for their end, which can take minutes."""

import re
import subprocess


def start(words, env):
    """Starts a server and waits until it prints its address. Returns (process, "host:port")."""
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)
    address = re.search(r"grpc://(\S+?),", process.stdout.readline())
    assert address, "it did not say where"
    return process, address[1]


def stop(processes):
    for process in processes:
        process.kill()
        process.wait()
