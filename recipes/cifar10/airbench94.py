"""CIFAR-10 at 94 % in 8 epochs: the network, optimizer and augmentation of airbench94_muon.

Run      keras-tricks train cifar10/airbench94 --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.png (or .jpg, which costs accuracy)
Paper    Jordan 2024, arXiv:2404.00498; every value is of airbench94_muon.py in KellerJordan/cifar10-airbench:
         94.01 % (mean of 200 runs) with test-time augmentation
Differs  float32 (half precision there); the bias of the whitening layer is trained for all epochs (3 there), like the
         others
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule

BATCH = 2000
FILTERS, BIASES, HEAD = 0.24, 0.053, 0.67  # learning rates; the last two are of a loss summed over the batch

RECIPE = Recipe(
    about=About(paper="arXiv:2404.00498", expected_top1=94.01,
                expected_from="airbench94_muon.py, mean of 200 runs, with mirrored and translated views"),
    data=Data(source="image_folder", image_size=32, eval_crop="whole", mean=(125.307, 122.961, 113.8575),
              std=(62.985, 62.0925, 66.708)),
    augment=Augment(crop="pad", pad=2, flip="alternating"),
    model=Model(name="airbench94"),
    loss=Loss(label_smoothing=0.2, smoothing="uniform"),
    optimizer=Optimizer(name="muon", momentum=0.6, weight_decay=2e-6 * BATCH / FILTERS, options={
        "other_momentum": 0.85, "newton_schulz_steps": 3,
        "vector_ratio": BIASES * BATCH / FILTERS, "matrix_ratio": HEAD * BATCH / FILTERS}),
    schedule=Schedule(epochs=8, batch_size=BATCH, base_batch_size=BATCH, base_learning_rate=FILTERS, decay="linear"),
)
