"""ResNet-RS for the scaling study at laptop size: CIFAR-10 images at 32 pixels, with flips and padded crops only.

Run      keras-tricks scale --widths 0.125 0.25 0.5 --depths 26 50 101 --resolutions 32 --train epochs=2 \
             --train epochs=10 --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
Paper    Bello et al. 2021, arXiv:2103.07579, section 5: short training has no RandAugment, dropout, stochastic depth or
         label smoothing, and weight decay 4e-5
Differs  everything is smaller: data set, images, networks and epochs
Results  docs/results/scaling
"""

from keras_tricks.recipe import About, Augment, Data, Model, Optimizer, Recipe, Schedule, Train

RECIPE = Recipe(
    about=About(paper="arXiv:2103.07579"),
    data=Data(source="image_folder", train_images=4_000, image_size=32, eval_crop="whole",
              mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7)),
    augment=Augment(crop="pad", pad=4),
    model=Model(name="resnet_rs26", zero_gamma=True, options={"width_factor": 0.25}),
    optimizer=Optimizer(weight_decay=4e-5, no_bias_decay=True),
    schedule=Schedule(epochs=10, batch_size=64, base_learning_rate=0.1, warmup_epochs=1, decay="cosine"),
    train=Train(eval_batch_size=500, evaluate_every=10, deterministic=False),
)
