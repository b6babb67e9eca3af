"""The free memory of the machine, and the recognition of out-of-memory errors."""

import errno
import sys

# Messages of native libraries, which raise a `RuntimeError` or an error whose type suggests another cause.
TEXTS = ("bad_alloc", "out of memory", "cannot allocate memory", "failed to allocate", "unable to allocate",
         "resource_exhausted", "can't start new thread", "thread creation via pthread_create() failed",
         "failed to map segment", "could not create a primitive")  # the dynamic linker, oneDNN


def free_memory():
    """Bytes available to a new process, or `None` on systems other than Linux."""
    try:
        with open("/proc/meminfo") as file:
            line = next(line for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


def peak_memory():
    """The largest memory of this process so far in bytes, or `None` on Windows."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_out_of_memory(error):
    """Whether an error of Python, NumPy, TensorFlow or the operating system means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    return any(text in str(error).lower() for text in TEXTS)
