"""ResNet-50, procedure A1 of "ResNet strikes back": 600 epochs at 224 pixels.

Run      keras-tricks train resnet_strikes_back/a1 --data-dir ~/tensorflow_datasets
Paper    Wightman et al. 2021, arXiv:2110.00476, table 2: every value but those named here
Differs  batch 2040 instead of 2048, which three copies of an image do not divide, at the paper's learning rate; Keras'
         LAMB decays weights outside its trust ratio, timm's inside. Not in the table, and timm's defaults: epsilon
         1e-6, bicubic resizing, the probability 0.5 of RandAugment, one of mixup and CutMix for each batch
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule

RECIPE = Recipe(
    about=About(paper="arXiv:2110.00476", expected_top1=80.4, expected_from="paper"),
    data=Data(source="tfds:imagenet2012", image_size=224, eval_crop="center", crop_pct=0.95, interpolation="bicubic",
              antialias=True),
    augment=Augment(crop="random_resized", flip=True, rand_augment_layers=2, rand_augment_increasing=True,
                    rand_augment_magnitude=7, rand_augment_magnitude_std=0.5, rand_augment_probability=0.5,
                    mixup_alpha=0.2, cutmix_alpha=1.0, mix_both="either", repeats=3),
    model=Model(name="resnet50b", options={"drop_path_rate": 0.05}),
    loss=Loss(name="binary_crossentropy", label_smoothing=0.1, smoothing="uniform"),
    optimizer=Optimizer(name="lamb", weight_decay=0.01, no_bias_decay=True, options={"epsilon": 1e-6}),
    schedule=Schedule(epochs=600, batch_size=2040, base_batch_size=2040, base_learning_rate=5e-3, warmup_epochs=5,
                      decay="cosine"),
)
