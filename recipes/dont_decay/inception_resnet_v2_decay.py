"""Inception-ResNet-v2 on ImageNet, batch 8192, learning rate 3: the baseline schedule.

Run      keras-tricks train dont_decay/inception_resnet_v2_decay --data-dir DIR
Data     imagenet2012, prepared by TFDS
"""

from keras_tricks.recipe import About, Augment, Data, Model, Optimizer, Recipe, Schedule

RECIPE = Recipe(
    about=About(paper="arXiv:1711.00489",
                note="section 5.3; 14,040 updates. The augmentation is our choice",
                follows="paper, section 5.3: the settings of Goyal et al. 2017 (arXiv:1706.02677) without the warmup"),
    data=Data(source="tfds:imagenet2012", validation_split="validation", image_size=299, short_side=342,
              mean=(127.5,) * 3, std=(127.5,) * 3),
    augment=Augment(),
    model=Model(name="inception_resnet_v2", options={"ghost_batch_size": 32}),
    optimizer=Optimizer(momentum=0.9, nesterov=False, weight_decay=1e-4, no_bias_decay=True),
    schedule=Schedule(epochs=90, batch_size=8192, base_learning_rate=3.0, base_batch_size=8192, decay="step",
                      milestones=(30, 60, 80), factor=0.1),
    train={"max_batch_per_replica": 256},
)
