"""How much memory the machine has free."""


def free_memory():
    """Bytes the system could give to a process, or `None` where it does not say (anything but Linux)."""
    try:
        with open("/proc/meminfo") as file:
            line = next(line for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024
