"""ResNet-200 at 256 pixels, 90 epochs: the start of the additive study.

Run      keras-tricks train resnet_rs/study_01_resnet200 --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, table 1: 79.0 %
Differs  about.differs
"""

from keras_tricks.recipe import About, Augment, Data, Model, Optimizer, Recipe, Schedule, Train

RECIPE = Recipe(
    about=About(paper="arXiv:2103.07579", expected_top1=79.0, expected_from="paper, table 1",
                note="the epochs and the resolution of this row were not verified",
                follows="paper, table 1; tensorflow/tpu, models/official/resnet",
                differs={"optimizer.no_bias_decay": "the code excludes only normalization; here also biases"}),
    data=Data(source="tfds:imagenet2012", image_size=256, eval_crop="center", interpolation="bicubic",
              mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    augment=Augment(crop="distorted"),
    model=Model(name="resnet200b", zero_gamma=True),
    optimizer=Optimizer(weight_decay=1e-4, no_bias_decay=True),
    schedule=Schedule(epochs=90, batch_size=4096, base_learning_rate=0.1, warmup_epochs=5, milestones=(30, 60, 80)),
    train=Train(precision="mixed_bfloat16"),
)
