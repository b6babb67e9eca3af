"""TF_CONFIG, which names the workers of a run and says which of them this process is, checked before it is used."""

import json

from keras_tricks.utils.errors import UserError
from keras_tricks.utils.plain_values import shown

EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


def parse_tf_config(text):
    """The dictionary in the text of TF_CONFIG, with the tasks of each job as a list of addresses.

    Raises:
        UserError: it is not JSON, lacks a part, or has an address that is not `host:port`.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "a value is too large"
        raise UserError(f"TF_CONFIG is not JSON ({reason}). Expected something like {EXAMPLE}.") from None
    if not isinstance(config, dict) or not config.get("cluster") or "task" not in config:
        raise UserError(f"TF_CONFIG must be a JSON object with `cluster` and `task`. Received: {shown(text)}")
    cluster, task = config["cluster"], config["task"]
    if not isinstance(cluster, dict):
        raise UserError(f"TF_CONFIG: `cluster` must be an object of lists, as in {EXAMPLE}. Received: {shown(cluster)}")
    cluster = {job: _addresses(job, tasks) for job, tasks in cluster.items()}
    taken = {}
    for job, addresses in cluster.items():
        for index, address in enumerate(addresses):
            name = f"{job} {index}"
            if taken.setdefault(address, name) != name:
                raise UserError(f"TF_CONFIG: {taken[address]} and {name} have the same address, {address}.")
    if not isinstance(task, dict):
        raise UserError(f"TF_CONFIG: `task` must be an object, as in {EXAMPLE}. Received: {shown(task)}")
    job, index = task.get("type"), task.get("index")
    known = isinstance(job, str) and job in cluster and type(index) is int and 0 <= index < len(cluster[job])
    if not known:
        raise UserError(f"TF_CONFIG: the task {shown(task)} is not in the cluster {shown(cluster)}.")
    return {**config, "cluster": cluster}


def _addresses(job, tasks):
    """The addresses of a job as a list; TensorFlow also takes an object from index to address."""
    if isinstance(tasks, dict) and sorted(tasks) == [str(i) for i in range(len(tasks))]:
        tasks = [tasks[str(i)] for i in range(len(tasks))]
    if not isinstance(tasks, list) or not tasks:
        raise UserError(f"TF_CONFIG: {shown(job)} must be a list of addresses, as in {EXAMPLE}. Received: "
                        f"{shown(tasks)}")
    for index, address in enumerate(tasks):
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) < 65536:
            raise UserError(f"TF_CONFIG: the address of {job} {index} must be host:port, with a port from 1 to 65535. "
                            f"Received: {shown(address)}")
    return tasks
