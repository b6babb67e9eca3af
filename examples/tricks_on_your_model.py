"""Five tricks on a plain Keras model, trained with `model.fit`. About 20 seconds on a laptop CPU.

    python examples/tricks_on_your_model.py
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_tricks as kt

keras.utils.set_random_seed(0)
digits = load_digits()
images = (digits.images[..., None] / 16.0).astype("float32")
train_x, train_y, test_x, test_y = images[:1200], digits.target[:1200], images[1200:], digits.target[1200:]


def residual_block(x, filters, strides):
    """Your own code, without keras_tricks."""
    shortcut = x
    if strides > 1 or x.shape[-1] != filters:
        shortcut = keras.layers.BatchNormalization(momentum=0.9)(keras.layers.Conv2D(filters, 1, strides)(x))
    x = keras.layers.Conv2D(filters, 3, strides, padding="same", activation="relu")(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.Conv2D(filters, 3, padding="same")(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    return keras.layers.ReLU()(keras.layers.Add()([shortcut, x]))


inputs = keras.Input((8, 8, 1))
x = keras.layers.Conv2D(16, 3, padding="same")(inputs)
for filters, strides in ((16, 1), (32, 2)):
    x = residual_block(x, filters, strides)
outputs = keras.layers.Dense(10, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
model = keras.Model(inputs, outputs)

# 1. Zero gamma: every residual block starts as the identity. The blocks are found in the graph.
print("zero gamma:", kt.surgery.zero_gamma(model))

# 2. Coupled weight decay, as in the papers, that excludes biases and batch normalization parameters.
optimizer = kt.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, no_bias_decay=True)
kt.optimizers.no_decay(model)

# 3. Label smoothing, applied directly to integer labels.
model.compile(optimizer, kt.losses.LabelSmoothingCrossentropy(0.1), metrics=["sparse_categorical_accuracy"])

# 4 and 5. Linear scaling with warmup, then cosine.
epochs, batch_size = 8, 64
schedule = kt.callbacks.WarmupLinearScaling(
    batch_size, base_learning_rate=0.4, warmup_epochs=1, decay=kt.schedules.Cosine(epochs)
)
model.fit(train_x, train_y, batch_size, epochs, callbacks=[schedule], verbose=2)

accuracy = float(np.mean(model.predict(test_x, verbose=0).argmax(-1) == test_y))
print(f"held-out accuracy {100 * accuracy:.2f} %")
if accuracy < 0.9:
    raise SystemExit("the example must reach 90 %")
