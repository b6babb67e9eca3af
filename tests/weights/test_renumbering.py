from keras_tricks.weights.renumbering import renumbered


def test_numbers_of_unnamed_layers_are_counted_from_the_first():
    variables = {"conv2d_10/kernel": 1, "conv2d_9/kernel": 0, "dense_3/bias": 2, "block_1/conv2d_7/kernel": 3}
    names = ["conv2d/kernel", "conv2d_1/kernel", "dense/bias", "block/conv2d/kernel", "optimizer"]
    assert renumbered(variables, names) == {
        "conv2d/kernel": 0, "conv2d_1/kernel": 1, "dense/bias": 2, "block/conv2d/kernel": 3}


def test_other_names_are_left_alone():
    exact = {"conv2d_1/kernel": 0}
    assert renumbered(exact, ["conv2d/kernel", "conv2d_1/kernel"]) == exact
    assert renumbered({"a/kernel": 0}, ["b/kernel"]) == {"a/kernel": 0}
    assert renumbered({"conv_1/kernel": 0, "conv_2/kernel": 1}, ["conv_5/kernel"]) == {
        "conv_1/kernel": 0, "conv_2/kernel": 1}
