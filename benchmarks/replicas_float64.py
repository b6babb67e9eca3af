"""Two replicas of `quickstart` and one device: how far apart their weights get in float32, and in float64.

Run      python benchmarks/replicas_float64.py --epochs 3 --output docs/replicas.md
Method   The recipe's network (`sync_bn=True`), data, optimizer, warmup and cosine schedule and label smoothing, from
         the same weights and on the same batches, on one CPU device and on two mirrored ones: max|difference of
         weights| / max|weights| over the trained weights.
Columns  float32    what `keras-tricks train quickstart` computes
         composed   one device takes Keras' composed batch normalization, as replicas with `sync_bn` do, instead of
                    TensorFlow's fused kernel: both sides run the same code
         SiLU       composed, with SiLU in place of every ReLU: the same network without kinks
         float64    composed, with ReLU
Shows    If two replicas computed something else than one device, more digits would not bring them together, and a
         smoother activation would not either.
Float64  The package computes the classifier and the loss in float32 whatever the policy. Here the network is rebuilt
         with every layer in the precision of the column, and the loss is the recipe's formula in that precision.
Output   Replaces its own section at the end of the file.
"""

import argparse
import os
import pathlib
import sys
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

ONE, TWO = {"strategy": "one"}, {"strategy": "mirrored", "logical_devices": 2}
TITLE = "## Why long float32 runs part, and why that is not a fault"
SECTION = TITLE + """

`python benchmarks/replicas_float64.py --epochs {epochs} --output docs/replicas.md` trains `quickstart` on one device
and on two mirrored ones, from the same weights and on the same batches (keras {keras}, tensorflow {tensorflow}, {cores}
cores). A number is max|Δw| / max|w| of the trained weights. "Composed": one device takes Keras' composed batch
normalization, as replicas with `sync_bn` do, so that both sides run the same code; the columns behind it do too.

{table}

A different formula would stay different with more digits. In float64 the two stay together to a dozen digits, so two
replicas do compute the update of one device. In float32 the last digit decides for some pixels on which side of a
ReLU's kink they fall; the gradient of such a pixel is there on one side and missing on the other, a step that is not
small, and the next batch meets more of them. Without kinks (SiLU) float32 replicas stay together as well.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3, help="of the recipe's 24, after which the runs are cut")
    parser.add_argument("--output", type=pathlib.Path, help="file whose last section is replaced")
    args = parser.parse_args()

    import keras_tricks as kt

    kt.distribution.strategy("mirrored", logical_devices=2)  # devices are divided before the first is used
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
        section = SECTION.format(epochs=args.epochs, keras=keras.__version__, tensorflow=tf.__version__,
                                 cores=os.cpu_count(), table=table)
        before = args.output.read_text().partition(TITLE)[0]
        args.output.write_text(before.rstrip("\n") + "\n\n" + section)


def both(precision, epochs, activation="relu"):
    """`train` on one device and on two."""
    return [train(precision, epochs, activation, where) for where in (ONE, TWO)]


def train(precision, epochs, activation, where):
    """The trained weights after the first step and after every epoch, one vector each: `{"step 1": ..., ...}`."""
    import keras

    import keras_tricks as kt
    from keras_tricks import training
    from keras_tricks.recipe import load_recipe

    keras.config.set_floatx("float32")
    recipe = load_recipe("quickstart").replace(train=where)
    ready = training.prepare(recipe)
    keras.config.set_floatx(precision)  # of the loss and the learning rate
    with ready.strategy.scope():
        model = rebuilt(ready.network, precision, activation)
        model.compile(training.build_optimizer(recipe), smoothed_crossentropy(recipe.loss), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
    check_precision([*model.variables, *model.optimizer.variables], precision)

    taken = {}
    take = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: taken or taken.update({"step 1": weights(model)}),
        on_epoch_end=lambda epoch, logs: taken.update({f"epoch {epoch + 1}": weights(model)}),
    )
    schedule = recipe.schedule
    steps = ready.source.train.num_examples // schedule.batch_size
    rate = kt.callbacks.WarmupLinearScaling(schedule.batch_size, schedule.base_learning_rate, schedule.base_batch_size,
                                            schedule.warmup_epochs, training.decay_of(schedule), steps)
    history = model.fit(training.training_batches(ready, range(epochs)), epochs=epochs, steps_per_epoch=steps,
                        callbacks=[rate, take], shuffle=False, verbose=0)
    losses = " ".join(f"{loss:.6f}" for loss in history.history["loss"])
    print(f"{precision} {activation} {ready.strategy.num_replicas_in_sync} replicas: loss of each epoch {losses}",
          flush=True)
    return taken


def rebuilt(network, precision, activation):
    """A copy of the network, weights included: every layer computes in `precision`, `activation` for every ReLU."""
    import keras

    def again(layer):
        if isinstance(layer, keras.layers.ReLU):
            return keras.layers.Activation(activation, name=layer.name, dtype=precision)
        return type(layer).from_config({**layer.get_config(), "dtype": precision})

    bare = keras.Model(network.inputs, network.outputs)  # of a compiled model the metrics would be copied too
    copy = keras.models.clone_model(bare, clone_function=again)
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
    """So that no number of the table is of another precision than it says."""
    others = {v.path: v.dtype for v in variables if "float" in v.dtype and v.dtype != precision}
    assert not others, others


def weights(model):
    import numpy as np

    return np.concatenate([np.ravel(v.numpy()).astype("float64") for v in model.trainable_variables])


def difference(one, several):
    return abs(one - several).max() / abs(one).max()


if __name__ == "__main__":
    main()
