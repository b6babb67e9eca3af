"""`keras-tricks data serve` as processes of their own: their end is not waited for, which takes TensorFlow minutes."""

import re
import subprocess


def start(words, env):
    """Starts one and waits until it says where it is. Returns (process, "host:port")."""
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)
    address = re.search(r"grpc://(\S+?),", process.stdout.readline())
    assert address, "it did not say where"
    return process, address[1]


def stop(processes):
    for process in processes:
        process.kill()
        process.wait()
