"""What `keras-tricks doctor` reports about the devices of the Keras backend, with one matrix product on each."""

import time

import keras

SIZE = 512  # of the matrices
REPEATS = 5


def device_names():
    """Names of the devices of the Keras backend, as `env.json` keeps them."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return [device.name for device in tf.config.list_logical_devices()]
    return keras.distribution.list_devices() if keras.backend.backend() == "jax" else [_torch_device()]


def peak_memory():
    """Peak memory in bytes that the first GPU or TPU of the Keras backend has used in this process; `None` on a CPU."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] if gpus else None
    if backend == "jax":
        import jax

        return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def diagnose_devices():
    """Yields the report, line by line. Lines that start with `fix:` are remedies."""
    for name in device_names():
        yield f"{name:<20}{_matrix_product(name)}"
    backend = keras.backend.backend()
    yield from _of_tensorflow() if backend == "tensorflow" else _of_others(backend)


def _matrix_product(name):
    # TensorFlow's names are paths: "/device:GPU:0". Keras takes "gpu:0".
    with keras.device(name.removeprefix("/device:").lower()):
        x = keras.random.normal((SIZE, SIZE), seed=0)
        keras.ops.convert_to_numpy(x @ x)
        start = time.perf_counter()
        for _ in range(REPEATS):
            product = keras.ops.matmul(x, x)
        finite = bool(keras.ops.convert_to_numpy(keras.ops.all(keras.ops.isfinite(product))))
    speed = REPEATS * 2 * SIZE**3 / (time.perf_counter() - start) / 1e9
    return f"{SIZE}x{SIZE} matrix product {'ok' if finite else 'NOT FINITE'}, {speed:.0f} GFLOP/s"


def _of_tensorflow():
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        built = "with" if tf.test.is_built_with_cuda() else "without"
        yield f"no GPU is visible; this TensorFlow was built {built} CUDA."
        yield "fix: on a machine with an NVIDIA GPU: pip install 'keras-tricks[gpu]'"
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        name, capability = details.get("device_name", "GPU"), details.get("compute_capability")
        yield f"{gpu.name:<20}{name}, compute capability {capability}"


def _of_others(backend):
    if all("cpu" in name.lower() for name in device_names()):
        wanted = "'jax[cuda12]', or 'jax[tpu]' on a TPU machine" if backend == "jax" else "torch with CUDA"
        yield f"no GPU or TPU is visible to {backend}."
        yield f"fix: on a machine with one: pip install {wanted}"


def _torch_device():
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu:0"
