"""ResNet-20-D on scikit-learn's digits: one minute on a laptop, no download.

Run      keras-tricks train quickstart
Expect   98.5 % top-1 or more on the 599 held-out images
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule

RECIPE = Recipe(
    about=About(paper="arXiv:1812.01187", expected_top1=98.5, expected_from=".ci/run, every time", measured=True,
                note="1,797 real 8x8 images, a third held out"),
    data=Data(source="digits", image_size=16, eval_crop="whole", mean=(78.0,) * 3, std=(96.0,) * 3),
    augment=Augment(crop="pad", pad=2, pad_mode="CONSTANT", flip=False),
    model=Model(name="resnet20d", zero_gamma=True, options={"sync_bn": True}),
    loss=Loss(label_smoothing=0.1),
    optimizer=Optimizer(weight_decay=5e-4, no_bias_decay=True),
    schedule=Schedule(epochs=24, batch_size=64, base_learning_rate=0.4, warmup_epochs=2, decay="cosine"),
)
