"""Which workers of a run have ended: those whose address accepts no connection."""

import socket
from concurrent.futures import ThreadPoolExecutor

from keras_tricks.distribution.rendezvous import parse_address

TIMEOUT = 2  # seconds for one connection


def unreachable(addresses, timeout=TIMEOUT):
    """The names of those that accept no connection, a list in the order of `addresses`.

    Args:
        addresses: dict of name to `"host:port"`, of processes that listen there while they live.
        timeout: seconds > 0.
    """

    def answers(address):
        try:
            socket.create_connection(parse_address(address), timeout).close()
        except (OSError, ValueError):
            return False
        return True

    if not addresses:
        return []
    with ThreadPoolExecutor(min(len(addresses), 32)) as pool:
        return [name for name, up in zip(addresses, pool.map(answers, addresses.values()), strict=True) if not up]
