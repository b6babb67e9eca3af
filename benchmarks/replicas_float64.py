"""The difference between the weights of two replicas of `quickstart` and of one device, in float32 and in float64.

Run      python benchmarks/replicas_float64.py --epochs 3 --output docs/replicas.md
Method   The recipe's network (`sync_bn=True`), data, optimizer, warmup and cosine schedule and label smoothing, from
         the same weights and on the same batches, on one CPU device and on two mirrored ones: max|difference of
         weights| / max|weights| over the trained weights.
Columns  float32    what `keras-tricks train quickstart` computes
         composed   one device uses Keras' composed batch normalization, as replicas with `sync_bn` do, instead of
                    TensorFlow's fused kernel, so that both sides run the same code
         SiLU       composed, with SiLU in place of every ReLU: the same network without kinks
         float64    composed, with ReLU
Shows    If two replicas computed something else than one device, neither more digits nor a smoother activation would
         bring them together.
Float64  The package computes the classifier and the loss in float32 under every policy. The benchmark rebuilds the
         network with every layer in the precision of the column, and uses the recipe's loss in that precision.
Output   Replaces what is between the markers of replicas_float64.
"""

import argparse
import os
import pathlib
import sys
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

ONE, TWO = {"strategy": "one"}, {"strategy": "mirrored", "logical_devices": 2}
TABLE = "{epochs} epochs, keras {keras}, tensorflow {tensorflow}, {cores} cores:\n\n{table}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3, help="of the recipe's 24, after which the runs are cut")
    parser.add_argument("--output", type=pathlib.Path, help="page with the markers of replicas_float64")
    args = parser.parse_args()

    from page_section import replace_section

    import keras_tricks as kt

    kt.distribution.strategy("mirrored", logical_devices=2)  # the CPU must be divided before it is used
    import keras
    import tensorflow as tf

    columns = {"float32": both("float32", args.epochs)}
    with mock.patch.object(kt.layers.BatchNormalization, "can_fuse", lambda self, inputs: False):
        columns["float32, composed"] = [train("float32", args.epochs, "relu", ONE), columns["float32"][1]]
        columns["float32, composed, SiLU"] = both("float32", args.epochs, "silu")
        columns["float64, composed"] = both("float64", args.epochs)

    lines = [f"| after | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for moment in columns["float32"][0]:
        cells = [f"{difference(one[moment], several[moment]):.1e}" for one, several in columns.values()]
        lines.append(f"| {moment} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    print(table)
    if args.output:
        replace_section(args.output, "replicas_float64", TABLE.format(
            epochs=args.epochs, keras=keras.__version__, tensorflow=tf.__version__, cores=os.cpu_count(), table=table))


def both(precision, epochs, activation="relu"):
    """`train` on one device and on two."""
    return [train(precision, epochs, activation, where) for where in (ONE, TWO)]


def train(precision, epochs, activation, where):
    """The trained weights after the first step and after every epoch, as vectors: `{"step 1": ..., ...}`."""
    import keras

    import keras_tricks as kt
    from keras_tricks import training
    from keras_tricks.recipe import load_recipe
    from keras_tricks.run import build

    keras.config.set_floatx("float32")
    recipe = load_recipe("quickstart").replace(train=where)
    ready = training.prepare(recipe)
    keras.config.set_floatx(precision)  # for the loss and the learning rate
    with ready.devices.scope():
        model = rebuilt(ready.network, precision, activation)
        model.compile(training.build_optimizer(recipe), smoothed_crossentropy(recipe.loss), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
    check_precision([*model.variables, *model.optimizer.variables], precision)

    snapshots = {}
    snapshot = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: snapshots or snapshots.update({"step 1": weights(model)}),
        on_epoch_end=lambda epoch, logs: snapshots.update({f"epoch {epoch + 1}": weights(model)}),
    )
    schedule = recipe.schedule
    steps = ready.source.train.num_examples // schedule.batch_size
    rate = kt.callbacks.WarmupLinearScaling(schedule.batch_size, schedule.base_learning_rate, schedule.base_batch_size,
                                            schedule.warmup_epochs, build.decay_of(schedule), steps)
    history = model.fit(training.training_batches(ready, range(epochs)), epochs=epochs, steps_per_epoch=steps,
                        callbacks=[rate, snapshot], shuffle=False, verbose=0)
    losses = " ".join(f"{loss:.6f}" for loss in history.history["loss"])
    print(f"{precision} {activation} {ready.devices.replicas} replicas: loss of each epoch {losses}",
          flush=True)
    return snapshots


def rebuilt(network, precision, activation):
    """A copy of the network with its weights. Every layer computes in `precision`; `activation` replaces every ReLU."""
    import keras

    def clone(layer):
        if isinstance(layer, keras.layers.ReLU):
            return keras.layers.Activation(activation, name=layer.name, dtype=precision)
        return type(layer).from_config({**layer.get_config(), "dtype": precision})

    bare = keras.Model(network.inputs, network.outputs)  # a copy of a compiled model would include its metrics
    copy = keras.models.clone_model(bare, clone_function=clone)
    copy.set_weights(network.get_weights())
    return copy


def smoothed_crossentropy(section):
    """The recipe's loss in the precision of the logits."""
    from keras import ops

    from keras_tricks.losses.label_smoothing import smooth_labels

    def loss(labels, logits):
        targets = smooth_labels(ops.cast(labels, logits.dtype), section.label_smoothing, section.smoothing)
        return ops.categorical_crossentropy(targets, logits, from_logits=True)

    return loss


def check_precision(variables, precision):
    """Checks that no variable has another precision than that of the column."""
    others = {v.path: v.dtype for v in variables if "float" in v.dtype and v.dtype != precision}
    assert not others, others


def weights(model):
    import numpy as np

    return np.concatenate([np.ravel(v.numpy()).astype("float64") for v in model.trainable_variables])


def difference(one, several):
    return abs(one - several).max() / abs(one).max()


if __name__ == "__main__":
    main()
