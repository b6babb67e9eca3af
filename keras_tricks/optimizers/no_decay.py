"""No bias decay: applies weight decay only to the kernels of convolutions and dense layers.

Formula    decayed: tensors of two or more axes; exempt: biases, normalization gains and offsets, scalar gains
Paper      He et al. 2018, arXiv:1812.01187, section 3.1; Jia et al. 2018, arXiv:1807.11205
Recipe     no_bias_decay: optimizer.no_bias_decay=true
Use when   training any network with batch normalization
Do not     select variables by name or pattern: names differ between backends and wrappers
Cost       none
Differs    selects by shape, not by name: one rule for every Keras model (as timm does)
Status     in the efficient recipes; no difference in short training on small images (docs/results/ablation, n = 3)
"""

from typing import Any

import keras

from keras_tricks.utils.errors import UserError


def is_exempt(variable: Any) -> bool:
    """Whether no-bias-decay exempts a variable: true for tensors with at most one axis."""
    return len(variable.shape) <= 1


def no_decay(model: keras.Model, verbose: bool = True) -> list[Any]:
    """The trainable variables of a model that no-bias-decay exempts.

    For Keras' own optimizers: `optimizer.exclude_from_weight_decay(var_list=no_decay(model))`, on a new optimizer:
    Keras ignores what is excluded after the first step, and what is excluded on its own `LossScaleOptimizer`.
    `kt.optimizers.SGD` applies the same rule with `no_bias_decay=True`.

    Args:
        model: built `keras.Model`.
        verbose: bool, whether to print the table of decayed and exempt variables. Defaults to `True`.

    Returns:
        A list of variables, also of models inside the model; each once.

    Raises:
        UserError: the model is not built.
    """
    if not model.built:
        raise UserError(f"{model.name} is not built, so it has no variables yet: call it on a batch first.")
    exempt = [v for v in model.trainable_variables if is_exempt(v)]
    if verbose:
        print(decay_table(model))
    return exempt


def decay_table(model: keras.Model) -> str:
    """A table of decayed and exempt variables by name, as text."""
    rows = {}
    for v in model.trainable_variables:
        key = (v.name, "no" if is_exempt(v) else "yes")
        count, numbers = rows.get(key, (0, 0))
        size = 1
        for axis in v.shape:
            size *= axis
        rows[key] = (count + 1, numbers + size)
    lines = [f"{'variable':<20}{'decayed':<10}{'tensors':>8}{'parameters':>14}"]
    for (name, decayed), (count, numbers) in sorted(rows.items(), key=lambda r: (r[0][1], r[0][0])):
        lines.append(f"{name:<20}{decayed:<10}{count:>8}{numbers:>14,}")
    return "\n".join(lines)
