"""Compiles the training step of every family for a TPU, without a TPU: the section of docs/guides/many_machines.md.

Run      KERAS_BACKEND=jax python benchmarks/tpu_compile.py [--topology v5e:2x2] [--models NAME ...] [--output PAGE]
Needs    pip install jax libtpu: the compiler comes with libtpu, no device is needed
Method   `jax.experimental.topologies` describes the chips of the topology. The step that `kt.train` runs (loss,
         gradient, AGC, accumulation of 2, update, metrics) is lowered with the batch divided over all chips and the
         weights on each, and compiled. XLA refuses shapes that are not static. The table has the seconds of the
         compiler, operations per image and the memory of one chip, as XLA reports them. Nothing is run.
"""

import argparse
import os
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]
PRECISIONS = ("float32", "mixed_bfloat16")
IMAGES = 8  # of a chip
SMALLEST = [("efficientnet_rs_b0", {"input_shape": (32, 32, 3), "classes": 3}),
            ("mobilenet", {"input_shape": (32, 32, 3), "classes": 3})]  # families without a test size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--models", nargs="+", help="models of the registry at their own size, instead of the smallest")
    parser.add_argument("--output", type=pathlib.Path, help="page with the markers of tpu_compile")
    args = parser.parse_args()
    chips = topology(args.topology)
    import importlib.metadata

    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("keras", "jax", "libtpu"))
    lines = ["| model | policy | batch | compiled in, s | GFLOP an image | MiB of a chip |", "|---" * 6 + "|"]
    print(f"{chips[0].device_kind}, {len(chips)} chips, {versions}", *lines, sep="\n", flush=True)
    for name, arguments in [(name, {}) for name in args.models] if args.models else families():
        for policy in PRECISIONS:
            step = compile_step(name, arguments, policy, chips)
            lines.append(f"| {name} | {policy} | {step['batch']} | {step['seconds']:.1f} | {step['gflop']:.3g} "
                         f"| {step['mib']:.1f} |")
            print(lines[-1], flush=True)
    if args.output:
        from page_section import replace_section

        text = f"{len(chips)} chips of {chips[0].device_kind}, {IMAGES} images each, {versions}:\n\n" + "\n".join(lines)
        replace_section(args.output, "tpu_compile", text)


def families():
    from cases import MODELS

    return [*MODELS, *SMALLEST]


def topology(name):
    """The chips of a TPU topology, without a device."""
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # no metadata server
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    from jax.experimental import topologies

    return topologies.get_topology_desc(name, platform="tpu").devices


def compile_step(name, arguments, policy, chips):
    """Compiles the training step of a model of the registry for some chips.

    Returns:
        dict: `batch`, images; `seconds` of the compiler; `gflop`, 10^9 operations per image; `mib` of a chip.
    """
    import keras

    keras.config.set_dtype_policy(policy)
    try:
        lowered, batch = lower(trainer(name, arguments), chips)
    finally:
        keras.config.set_dtype_policy("float32")
    start = time.perf_counter()
    compiled = lowered.compile()
    seconds, memory = time.perf_counter() - start, compiled.memory_analysis()
    size = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    flops = compiled.cost_analysis()["flops"] * len(chips) / batch
    return {"batch": batch, "seconds": seconds, "gflop": flops / 1e9,
            "mib": (size - memory.alias_size_in_bytes) / 2**20}


def trainer(name, arguments):
    """A compiled model with the parts of a recipe."""
    import keras

    import keras_tricks as kt

    options = {"classifier_activation": None, **arguments}
    model = kt.models.create_model(name, **options)
    optimizer = kt.optimizers.AGC(kt.optimizers.SGD(0.1, momentum=0.9, weight_decay=5e-4, no_bias_decay=True), 0.01)
    model.compile(kt.optimizers.GradientAccumulation(optimizer, 2),
                  kt.losses.LabelSmoothingCrossentropy(0.1, from_logits=True),
                  weighted_metrics=[keras.metrics.CategoricalAccuracy(name="top1")], jit_compile=True)
    model.optimizer.build(model.trainable_variables)
    return model


def lower(model, chips=None):
    """(the training step of a model lowered for some chips, images of its batch).

    `chips`: devices of `topology`. Defaults to `None`: one TPU of any kind, which needs no libtpu and cannot be
    compiled.
    """
    import jax
    import numpy as np

    divided = whole = None
    if chips is not None:
        mesh = jax.sharding.Mesh(np.array(chips), ("batch",))
        divided, whole = (jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
                          for axes in (("batch",), ()))

    def like(shape, dtype, sharding):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    batch = IMAGES * len(chips or [0])
    x, y = (like((batch, *shape[1:]), "float32", divided) for shape in (model.input_shape, model.output_shape))
    model.compute_metrics(*(np.zeros((1, *a.shape[1:]), "float32") for a in (x, y, y)), None)  # makes their variables
    state = tuple([like(v.shape, v.dtype, whole) for v in group] for group in (
        model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, model.metrics_variables))
    if chips is None:
        traced = jax.jit(model.train_step, donate_argnums=0).trace(state, (x, y))
        return traced.lower(lowering_platforms=("tpu",)), batch
    step = jax.jit(model.train_step, donate_argnums=0, out_shardings=(whole, whole))
    return step.lower(state, (x, y)), batch


if __name__ == "__main__":
    main()
