"""NF-ResNet-50, 90 epochs: the base run of the reference code, trained like a batch-normalized ResNet.

Run      keras-tricks train nfnet/nf_resnet50 --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2101.08692; values of deepmind-research/nfnets/experiment.py
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule, Train

RECIPE = Recipe(
    about=About(paper="arXiv:2101.08692", note="no accuracy of this run is published",
                follows="deepmind-research, nfnets/experiment.py"),
    data=Data(source="tfds:imagenet2012", eval_crop="center", interpolation="bicubic",
              mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    augment=Augment(crop="distorted"),
    model=Model(name="nf_resnet50", options={"dropout_rate": 0.0}),
    loss=Loss(label_smoothing=0.1, smoothing="uniform"),
    optimizer=Optimizer(weight_decay=1e-4, no_bias_decay=True),
    schedule=Schedule(epochs=90, batch_size=1024, base_learning_rate=0.1, warmup_epochs=5, decay="cosine"),
    train=Train(precision="mixed_bfloat16"),
)
