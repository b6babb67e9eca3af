"""Starts worker processes on loopback, as `TF_CONFIG` describes them."""

import json
import os
import pathlib
import socket
import subprocess

ROOT = pathlib.Path(__file__).parents[2]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(command, folder, count=2, last=()):
    """`count` workers, each writing its output to `folder/<index>.txt`. The last one gets more arguments."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(count)]
    processes = []
    for index in range(count):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "PYTHONPATH": str(ROOT)}
        out = open(folder / f"{index}.txt", "ab")
        own = [*command, *last] if index == count - 1 else command
        processes.append(subprocess.Popen(own, env=environment, cwd=folder, stdout=out, stderr=subprocess.STDOUT))
    return processes
