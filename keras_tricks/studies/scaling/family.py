"""The families that can be scaled: maps a width and a depth to a network of the zoo."""

import dataclasses

from keras_tricks import models
from keras_tricks.models import resnet, resnet_rs
from keras_tricks.utils.errors import UserError, check_choice


@dataclasses.dataclass(frozen=True)
class Family:
    """A family that can be scaled.

    Attributes:
        name: format string of the registry names, `"resnet_rs{depth}"`.
        depths: {depth: blocks of each stage}.
        options: function of the width that returns the options of the builder.
    """

    name: str
    depths: dict
    options: object

    def select_depths(self, depths):
        """{depth: blocks of each stage} of some depths. Raises `UserError`, with the nearest, for an unknown one."""
        for depth in depths:
            if depth not in self.depths:
                nearest = min(self.depths, key=lambda known: abs(known - depth))
                raise UserError(f"{self.name.format(depth='')} has no depth {depth}: choose from "
                                f"{', '.join(map(str, self.depths))}. Nearest: {nearest}.")
        return {depth: self.depths[depth] for depth in depths}

    def build(self, width, depth, image_size):
        """The network of a width and a depth. Its kernels are zero, which is fast and does not change its costs."""
        return models.create_model(self.name.format(depth=depth), input_shape=(image_size, image_size, 3),
                                   kernel_initializer="zeros", **self.options(width))


def _resnet_d_options(width):
    filters = tuple(int(width * f) for f in (64, 128, 256, 512))
    if filters[0] < 2:
        raise UserError(f"A width of {width:g} leaves {filters[0]} of 64 channels: give 1/32 or more.")
    return {"filters": filters, "stem_filters": filters[0]}


FAMILIES = {
    "resnet_rs": Family("resnet_rs{depth}", resnet_rs.DEPTHS, lambda width: {"width_factor": width}),
    "resnet_d": Family("resnet{depth}d", {d: blocks for d, (kind, blocks) in resnet.VARIANTS.items()
                                          if kind == "bottleneck"}, _resnet_d_options),
}


def depths_of(family):
    """The depths of a family, in order. Raises `UserError` for an unknown family."""
    return tuple(FAMILIES[check_choice("family", family, FAMILIES)].depths)
