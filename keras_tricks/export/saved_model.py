"""A SavedModel for all TensorFlow tools: TF Serving, `tf.saved_model.load`, TF Hub, Keras' `TFSMLayer`.

    loaded(pixels, training=False)     a reusable SavedModel of TF Hub: training updates weights and batch statistics
    loaded.variables, .trainable_variables, .regularization_losses
    loaded.serve(pixels)               inference
    signature serving_default          float32 pixels (batch, height, width, 3) in 0-255 -> probabilities, label
    signature serving_bytes            encoded images, strings (batch,) -> the same; it includes the evaluation crop
    assets/labels.txt                  the class names, one per line

`model.export` of Keras 3 writes a SavedModel that cannot be called or trained.
"""

import pathlib
import tempfile


def write(model, folder, class_names=None, preprocess=None):
    """Writes a SavedModel.

    Args:
        model: `keras.Model` on the TensorFlow backend: float32 `(batch, height, width, 3)` in 0-255 to probabilities.
        folder: path of the new folder.
        class_names: strings, in the order of the outputs. Defaults to `None`: no labels.
        preprocess: graph function from one encoded image, a scalar string, to pixels. Defaults to `None`: no
            `serving_bytes`.
    """
    import tensorflow as tf

    pixels = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="pixels")

    @tf.function
    def call(pixels, training=False):
        return model(pixels, training=training)

    @tf.function(input_signature=[pixels])
    def serve(pixels):
        return model(pixels, training=False)

    @tf.function(input_signature=[pixels])
    def serving_default(pixels):
        return named_outputs(model(pixels, training=False))

    def named_outputs(probabilities):
        outputs = {"probabilities": probabilities}
        if class_names is not None:
            outputs["label"] = tf.gather(tf.constant(class_names), tf.argmax(probabilities, axis=-1))
        return outputs

    for training in (True, False):
        call.get_concrete_function(pixels, training=training)
    root = tf.train.Checkpoint()  # it accepts any attribute, as TF Hub's interface requires
    root.__call__, root.serve = call, serve
    root.variables = [v.value for v in model.variables]
    root.trainable_variables = [v.value for v in model.trainable_variables]
    root.regularization_losses = []
    signatures = {"serving_default": serving_default}
    if preprocess is not None:

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="images")])
        def serving_bytes(images):
            return named_outputs(model(tf.map_fn(preprocess, images, fn_output_signature=tf.float32), training=False))

        signatures["serving_bytes"] = serving_bytes
    with tempfile.TemporaryDirectory() as scratch:
        if class_names is not None:
            labels = pathlib.Path(scratch) / "labels.txt"
            labels.write_text("".join(f"{name}\n" for name in class_names))
            root.labels = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(root, str(folder), signatures=signatures)
