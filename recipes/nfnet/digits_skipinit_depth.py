"""Wide ResNet of any depth with SkipInit on scikit-learn's digits at 8 pixels, 12 epochs: no download.

Run      keras-tricks train nfnet/digits_skipinit_depth --set model.options.depth=100
         keras-tricks ablate --chain skipinit_depths_digits has depth 16 and 100, with batch normalization and neither
Results  docs/results/normalizer_free
Paper    De & Smith 2020, arXiv:2002.10444
Differs  width 1, batch, rate and epochs are our choice: the paper's were not read
"""

from keras_tricks.recipe import About, Augment, Data, Model, Optimizer, Recipe, Schedule, Train

RECIPE = Recipe(
    about=About(paper="arXiv:2002.10444", note="batch, rate and epochs are our choice"),
    data=Data(source="digits", image_size=8, eval_crop="whole", mean=(78.0,) * 3, std=(96.0,) * 3),
    augment=Augment(crop="pad", pad=1, pad_mode="CONSTANT", flip=False),
    model=Model(name="wide_resnet", options={"depth": 16, "width_factor": 1, "norm": "skipinit"}),
    optimizer=Optimizer(weight_decay=5e-4, no_bias_decay=True),
    schedule=Schedule(epochs=12, batch_size=64, base_learning_rate=0.1, base_batch_size=64, warmup_epochs=1,
                      decay="cosine"),
    train=Train(evaluate_every=12, eval_batch_size=599),
)
