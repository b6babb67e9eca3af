"""ResNet-RS-50 at 160 pixels, 350 epochs.

Run      keras-tricks train resnet_rs/rs50_160 --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, section 6: 78.8 %
Differs  about.differs. The authors' code decays the learning rate in steps; the paper and this recipe use a cosine. Its
         warmup is 19 of the 350 epochs, as here; Model Garden's is 5
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule, Train

RECIPE = Recipe(
    about=About(paper="arXiv:2103.07579", expected_top1=78.8, expected_from="paper, table of the released models",
                follows="paper, sections 4 and 6; tensorflow/tpu, models/official/resnet",
                differs={"optimizer.no_bias_decay": "the code excludes only normalization; here also biases"}),
    data=Data(source="tfds:imagenet2012", image_size=160, eval_crop="center", interpolation="bicubic",
              mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    augment=Augment(crop="distorted", rand_augment_layers=2, rand_augment_magnitude=10),
    # Momentum 0: batch normalization keeps no moving statistics. The average of all weights includes its statistics.
    model=Model(name="resnet_rs50", zero_gamma=True, options={"dropout_rate": 0.25, "bn_momentum": 0.0}),
    loss=Loss(label_smoothing=0.1, smoothing="uniform"),
    optimizer=Optimizer(weight_decay=4e-5, no_bias_decay=True, ema_decay=0.9999),
    schedule=Schedule(epochs=350, batch_size=4096, base_learning_rate=0.1, warmup_epochs=19, decay="cosine"),
    train=Train(precision="mixed_bfloat16"),
)
