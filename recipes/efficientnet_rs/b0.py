"""EfficientNet-B0 at 224 pixels, trained as EfficientNet-RS. Lower the resolution for the paper's trade-off.

Run      keras-tricks train efficientnet_rs/b0 --data-dir ~/tensorflow_datasets --set data.image_size=192
Paper    Bello et al. 2021, arXiv:2103.07579, section 7.2, which gives no resolution or accuracy per model. The
         magnitude of RandAugment depends on the resolution: 10 up to 224 pixels, 15 up to 320, 20 beyond
Differs  about.differs. The paper gives no image size per model: 224 pixels is EfficientNet's
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule, Train

RECIPE = Recipe(
    about=About(paper="arXiv:2103.07579", note="no accuracy of this run is published",
                follows="paper, section 7.2: the settings of EfficientNet at lower resolutions",
                differs={"optimizer.name": "SGD with momentum, as ResNet-RS",
                         "schedule.decay": "cosine, as ResNet-RS",
                         "data.image_size": "EfficientNet's: the paper prints none; lower it"}),
    data=Data(source="tfds:imagenet2012", image_size=224, eval_crop="center", interpolation="bicubic",
              mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    augment=Augment(crop="distorted", rand_augment_layers=2, rand_augment_magnitude=10),
    model=Model(name="efficientnet_rs_b0", options={"dropout_rate": 0.2}),
    loss=Loss(label_smoothing=0.1, smoothing="uniform"),
    optimizer=Optimizer(weight_decay=1e-5, no_bias_decay=True, ema_decay=0.9999),
    schedule=Schedule(epochs=350, batch_size=4096, base_learning_rate=0.1, warmup_epochs=5, decay="cosine"),
    train=Train(precision="mixed_bfloat16"),
)
