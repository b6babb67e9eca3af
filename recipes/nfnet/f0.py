"""NFNet-F0 at 192 pixels, evaluated at 256.

Run      keras-tricks train nfnet/f0 --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2102.06171, section 4 and appendix A, table 1: 83.6 %
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule, Train

RECIPE = Recipe(
    about=About(paper="arXiv:2102.06171", expected_top1=83.6, expected_from="paper, table 1",
                follows="paper, section 4 and appendix A; deepmind-research, nfnets"),
    data=Data(source="tfds:imagenet2012", image_size=192, test_image_size=256, eval_crop="squash",
              interpolation="bicubic", mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
    # Partners come from a second pass over the data. Half of a batch gets mixup, half CutMix; RandAugment follows.
    augment=Augment(crop="distorted", rand_augment_layers=4, rand_augment_magnitude=5, mixup_alpha=0.2,
                    cutmix_alpha=1.0, mixup_per="sample", mix_both="halves", mix_first=True),
    model=Model(name="nfnet_f0", options={"dropout_rate": 0.2, "drop_path_rate": 0.25}),
    loss=Loss(label_smoothing=0.1, smoothing="uniform"),
    optimizer=Optimizer(weight_decay=2e-5, no_bias_decay=True, agc_clip_factor=0.01, ema_decay=0.99999),
    schedule=Schedule(epochs=360, batch_size=4096, base_learning_rate=0.1, warmup_epochs=5, decay="cosine"),
    train=Train(precision="mixed_bfloat16"),
)
