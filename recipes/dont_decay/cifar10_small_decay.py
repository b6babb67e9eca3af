"""WRN-16-1 on 10,000 CIFAR-10 images, 30 epochs: decay, at laptop size.

Run      keras-tricks train dont_decay/cifar10_small_decay --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/cifar10_decay").replace(
    about={"note": "9,360 updates", "expected_top1": 75.76, "expected_from": "docs/results/dont_decay, n = 3",
           "measured": True},
    data={"train_images": 10_000},
    # He over fan-in, the default when the quoted runs were made; it is over fan-out now, as the authors' code.
    model={"name": "wide_resnet16_1", "options": {"ghost_batch_size": 32, "kernel_initializer": {
        "class_name": "VarianceScaling",
        "config": {"scale": 2.0, "mode": "fan_in", "distribution": "untruncated_normal"}}}},
    # The paper's learning rate per image: 0.1 per 128.
    schedule={"epochs": 30, "batch_size": 32, "base_learning_rate": 0.025, "base_batch_size": 32,
              "milestones": (10, 20)},
    train={"evaluate_every": 5, "eval_batch_size": 500},
)
