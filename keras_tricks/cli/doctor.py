"""check versions and devices, with one matrix product on each"""

import time


def add_arguments(parser):
    """The command has no arguments."""


def run(args):
    for line in diagnose():
        print(line)


def diagnose():
    """Yields the report, line by line. Lines that start with `fix:` are remedies."""
    import keras
    import tensorflow as tf

    from keras_tricks.run.environment import environment

    devices = [device.name for device in tf.config.list_logical_devices()]
    env = environment(devices if keras.backend.backend() == "tensorflow" else keras.distribution.list_devices())
    yield f"python      {env['python']} on {env['platform']}, {env['cpus']} cpus"
    for package, version in env["versions"].items():
        yield f"{package:<20}{version or 'not installed'}"
    yield f"{'backend':<20}{env['backend']}"
    if env["backend"] != "tensorflow":
        yield f"{'devices':<20}{', '.join(env['devices'])} ({env['backend']}); below, those of TensorFlow"
    if _older(keras.__version__, (3, 14)):
        yield f"fix: keras {keras.__version__} is older than 3.14: pip install -U keras"
    gpus = tf.config.list_physical_devices("GPU")
    for device in tf.config.list_logical_devices():
        yield f"{device.name:<20}{_matmul(tf, device.name)}"
    if not gpus:
        built = "with" if tf.test.is_built_with_cuda() else "without"
        yield f"no GPU is visible; this TensorFlow was built {built} CUDA."
        yield "fix: on a machine with an NVIDIA GPU: pip install 'keras-tricks[gpu]'"
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        name, capability = details.get("device_name", "GPU"), details.get("compute_capability")
        yield f"{gpu.name:<20}{name}, compute capability {capability}"


def _matmul(tf, device, size=512):
    with tf.device(device):
        x = tf.random.stateless_normal([size, size], (0, 1))
        tf.matmul(x, x).numpy()
        start = time.perf_counter()
        for _ in range(5):
            product = tf.matmul(x, x)
        finite = bool(tf.reduce_all(tf.math.is_finite(product)).numpy())
        seconds = (time.perf_counter() - start) / 5
    return f"{size}x{size} matrix product {'ok' if finite else 'NOT FINITE'}, {2 * size**3 / seconds / 1e9:.0f} GFLOP/s"


def _older(version, floor):
    return tuple(int(p) for p in version.split(".")[:2] if p.isdigit()) < floor
