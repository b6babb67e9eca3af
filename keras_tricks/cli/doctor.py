"""check versions and devices, with one matrix product on each"""


def add_arguments(parser):
    """The command has no arguments."""


def run(args):
    for line in diagnose():
        print(line)


def diagnose():
    """Yields the report, line by line. Lines that start with `fix:` are remedies."""
    import keras

    from keras_tricks.distribution.diagnosis import device_names, diagnose_devices
    from keras_tricks.run.environment import environment

    env = environment(device_names())
    yield f"python      {env['python']} on {env['platform']}, {env['cpus']} cpus"
    for package, version in env["versions"].items():
        yield f"{package:<20}{version or 'not installed'}"
    yield f"{'backend':<20}{env['backend']}"
    if _older(keras.__version__, (3, 14)):
        yield f"fix: keras {keras.__version__} is older than 3.14: pip install -U keras"
    yield from diagnose_devices()


def _older(version, floor):
    return tuple(int(p) for p in version.split(".")[:2] if p.isdigit()) < floor
