"""No bias decay: weight decay on the kernels of convolutions and dense layers only.

Formula    decayed: tensors of two or more axes; exempt: biases, normalization gains and offsets, scalar gains
Paper      He et al. 2018, arXiv:1812.01187, section 3.1; Jia et al. 2018, arXiv:1807.11205
Recipe     no_bias_decay: optimizer.no_bias_decay=true
Use when   any network with batch normalization
Do not     pass names or patterns: they differ between backends and wrappers
Cost       none
Differs    by shape, not by name: the same rule for every Keras model (timm does the same)
Status     in the efficient recipes; no difference in short training on small images (docs/results/ablation, n = 3)
"""


def is_exempt(variable):
    """Whether no-bias-decay spares a variable: true for tensors of at most one axis."""
    return len(variable.shape) <= 1


def no_decay(model, verbose=True):
    """The trainable variables of a model that no-bias-decay spares.

    For Keras' own optimizers: `optimizer.exclude_from_weight_decay(var_list=no_decay(model))`. `kt.optimizers.SGD`
    applies the same rule with `no_bias_decay=True`.

    Args:
        model: built `keras.Model`.
        verbose: bool, print the table of decayed and not decayed variables. Defaults to `True`.

    Returns:
        A list of variables.
    """
    exempt = [v for v in model.trainable_variables if is_exempt(v)]
    if verbose:
        print(decay_table(model))
    return exempt


def decay_table(model):
    """Decayed and spared variables by kind of name, as text."""
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
