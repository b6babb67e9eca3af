"""Batch-size plan: turns any decay of the learning rate into growth of the batch at the same noise scale.

Formula    B(t) = the largest allowed size <= B_0 / f(t);  eps(t) = eps_0 * f(t) * (B(t) / B_0)^p      f: the decay
           p = 1 for SGD, 1/2 for Adam and LAMB (arXiv:2510.14717); with p = 1
           eps(t) * N / (B(t) * (1 - m)) equals that of the decay at every t, below and above the cap
Paper      Smith et al. 2017, arXiv:1711.00489, sections 3 to 5
Recipe     grow_batch: schedule.mode=increase_batch; grow_once: schedule.mode=hybrid
Use when   devices are idle at the small batch, or communication per update is expensive
Do not     grow beyond about N / 10: there the short noise scale deviates from the exact one
Cost       none
Differs    the paper grows by a constant factor at steps; the rule above also turns a cosine into growth
Status     `dont_decay/cifar10_small_*`, docs/results/dont_decay (n = 3)

| mode           | allowed sizes                        | what changes                       |
|----------------|--------------------------------------|------------------------------------|
| decay          | B_0                                  | the learning rate                  |
| hybrid         | B_0, B_0 * factor                    | the batch once, then the rate      |
| increase_batch | B_0 * factor^k up to max_batch_size  | the batch; the rate above the cap  |
"""

import dataclasses
from collections.abc import Iterator, Sequence

from keras_tricks.schedules.noise_scale import exact_noise_scale, forgetting_epochs, noise_scale
from keras_tricks.schedules.warmup_linear_scaling import learning_rate as rate_at
from keras_tricks.utils.errors import UserError, check_choice
from keras_tricks.utils.types import Decay

MODES = ("decay", "hybrid", "increase_batch")


@dataclasses.dataclass(frozen=True)
class Phase:
    """Consecutive epochs with one batch size. `learning_rate` is the rate of the first epoch, ignoring warmup.

    `batch_size`, the images per update, is `micro_batch` on each replica x replicas x `accumulation_steps`.
    """

    epochs: range
    batch_size: int
    learning_rate: float
    micro_batch: int
    accumulation_steps: int
    updates_per_epoch: int
    noise_scale: float
    exact_noise_scale: float

    @property
    def updates(self) -> int:
        return len(self.epochs) * self.updates_per_epoch

    @property
    def steps_per_epoch(self) -> int:
        """Batches that `fit` runs in an epoch."""
        return self.updates_per_epoch * self.accumulation_steps

    @property
    def step_size(self) -> int:
        """Images in one such batch, over all replicas."""
        return self.batch_size // self.accumulation_steps


@dataclasses.dataclass(frozen=True)
class BatchSizePlan:
    """Batch size and learning rate at every update of a run, made by `batch_size_plan`. Iterating gives the phases."""

    phases: tuple[Phase, ...]
    learning_rate: float
    dataset_size: int
    decay: Decay = None
    momentum: float = 0.0
    warmup_epochs: float = 0.0
    replicas: int = 1
    growth_exponent: float = 1.0

    def __iter__(self) -> Iterator[Phase]:
        return iter(self.phases)

    def __len__(self) -> int:
        return len(self.phases)

    def __getitem__(self, index: int) -> Phase:
        return self.phases[index]

    @property
    def epochs(self) -> int:
        return self.phases[-1].epochs.stop

    @property
    def updates(self) -> int:
        """Parameter updates in the whole run. The last incomplete batch of an epoch is dropped."""
        return sum(phase.updates for phase in self.phases)

    def phase(self, epoch: int) -> Phase:
        """The phase of the 0-based `epoch`; the last phase for epochs beyond the end."""
        return next((p for p in self.phases if epoch < p.epochs.stop), self.phases[-1])

    def _before(self, epoch, count):
        return sum(max(0, min(epoch, p.epochs.stop) - p.epochs.start) * count(p) for p in self.phases)

    def updates_before(self, epoch: int) -> int:
        """Updates done before the 0-based `epoch` starts."""
        return self._before(epoch, lambda p: p.updates_per_epoch)

    def images_before(self, epoch: int) -> int:
        """Images seen before the 0-based `epoch` starts."""
        return self._before(epoch, lambda p: p.updates_per_epoch * p.batch_size)

    def steps_before(self, epoch: int) -> int:
        """Batches `fit` has run before the 0-based `epoch` starts."""
        return self._before(epoch, lambda p: p.steps_per_epoch)

    def rate(self, epoch: int, update: int = 0) -> float:
        """The learning rate, a float, of the 0-based `update` within the 0-based `epoch`."""
        phase = self.phase(epoch)
        per_epoch = phase.updates_per_epoch
        rate = rate_at(epoch * per_epoch + update, per_epoch, self.learning_rate, self.warmup_epochs, self.decay)
        return float(rate) * (phase.batch_size / self.phases[0].batch_size) ** self.growth_exponent

    def _forgets(self, phase):
        """How long a momentum remembers a gradient, as text: `20 updates, 0.0128 epochs`."""
        epochs = forgetting_epochs(phase.batch_size, self.dataset_size, self.momentum)
        return f"{1 / (1 - self.momentum):.3g} updates, {epochs:.3g} epochs"

    def __str__(self) -> str:
        rule = {1.0: "", 0.5: " (root)"}.get(self.growth_exponent, f" (power {self.growth_exponent:g})")
        shown = "learning rate" + (rule if len({p.batch_size for p in self.phases}) > 1 else "")
        head = ("epochs", "batch", "= replica", "x steps", shown, "updates", "noise scale", "exact",
                "forgets in")
        rows = [(f"{p.epochs.start}-{p.epochs.stop - 1}", f"{p.batch_size:,}", f"{p.micro_batch:,} x {self.replicas}",
                 str(p.accumulation_steps), f"{p.learning_rate:.6g}", f"{p.updates:,}", f"{p.noise_scale:.5g}",
                 f"{p.exact_noise_scale:.5g}", self._forgets(p)) for p in self.phases]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
                 for row in (head, *rows)]
        return "\n".join([*lines, f"{self.updates:,} updates in {self.epochs} epochs of {self.dataset_size:,} images"])


def batch_size_plan(learning_rate: float, batch_size: int, epochs: int, dataset_size: int, decay: Decay = None,
                    mode: str = "increase_batch", factor: float = 2, multiples: Sequence[int] | None = None,
                    max_batch_size: int | None = None, momentum: float = 0.0, warmup_epochs: float = 0.0,
                    replicas: int = 1, max_batch_per_replica: int | None = None,
                    accumulation_steps: int = 1, growth_exponent: float = 1.0) -> BatchSizePlan:
    """Turns a decay of the learning rate into a plan of batch sizes and learning rates.

    Args:
        learning_rate: float > 0, the rate at the start (after the warmup).
        batch_size: integer, images per update at the start, over all replicas.
        epochs: integer > 0.
        dataset_size: integer, number of training examples.
        decay: `kt.schedules.Step`, `Cosine`, `Exponential` or any `f(epoch, warmup_epochs)` with values in (0, 1];
            `None` is constant. Defaults to `None`.
        mode: `"increase_batch"`, `"hybrid"` or `"decay"`; see the table above. Defaults to `"increase_batch"`.
        factor: number > 1, growth of the batch from one allowed size to the next. Defaults to `2`.
        multiples: increasing integers, the allowed sizes as multiples of `batch_size`; replaces `mode` and `factor`.
            Defaults to `None`.
        max_batch_size: integer, largest batch. Defaults to `None`: a tenth of the data set (paper), rounded down to a
            multiple of `batch_size`.
        momentum: float in [0, 1), used in the noise scale. Defaults to `0.0`.
        warmup_epochs: float >= 0, epochs in which the rate rises and the batch is constant. Defaults to `0.0`.
        replicas: integer > 0. Defaults to `1`.
        max_batch_per_replica: integer, images a replica can hold in one step; larger batches are accumulated. Defaults
            to `None`: no limit.
        accumulation_steps: integer > 0, minimum number of steps per update. Defaults to `1`.
        growth_exponent: float in (0, 1]. A batch that is k times larger gets the rate of the decay times
            k ** `growth_exponent`. Defaults to `1.0`, the rule for SGD. For Adam and its relatives it is 0.5: instead
            of halving the rate, double the batch and divide the rate by sqrt 2 (Seesaw, arXiv:2510.14717).

    Returns:
        A `BatchSizePlan`.

    Raises:
        UserError: a size is not an integer, exceeds the data set or cannot be divided among the replicas.
    """
    check_choice("mode", mode, MODES)
    if not 0 < growth_exponent <= 1:
        raise UserError(f"`growth_exponent` must be in (0, 1]. Received: {growth_exponent}")
    _check_start(learning_rate, batch_size, epochs, dataset_size)
    sizes = _allowed(batch_size, dataset_size, mode, factor, multiples, max_batch_size)
    milestones = tuple(getattr(decay, "milestones", ()))
    if len(sizes) > 1:
        check_milestones(milestones, epochs)

    def decay_factor(epoch):
        return 1.0 if decay is None or epoch < warmup_epochs else float(decay(float(epoch), warmup_epochs))

    def key(epoch):
        """Identifies the phase of an epoch: its batch size and the number of milestones passed."""
        passed = sum(epoch >= m for m in milestones)
        if len(sizes) == 1:
            return batch_size, passed
        fitting = [s for s in sizes if s <= batch_size / max(decay_factor(epoch), 1e-12) * (1 + 1e-9)]
        return max(fitting), passed

    keys = [key(epoch) for epoch in range(epochs)]
    starts = [e for e in range(epochs) if e == 0 or keys[e] != keys[e - 1]]
    phases = []
    for start, stop in zip(starts, [*starts[1:], epochs], strict=True):
        size = key(start)[0]
        steps = _accumulation(size, replicas, max_batch_per_replica, accumulation_steps)
        rate = learning_rate * decay_factor(start) * (size / batch_size) ** growth_exponent
        arguments = rate, size, dataset_size, momentum
        phases.append(Phase(range(start, stop), size, rate, size // (steps * replicas), steps, dataset_size // size,
                            noise_scale(*arguments), exact_noise_scale(*arguments)))
    return BatchSizePlan(tuple(phases), learning_rate, dataset_size, decay, momentum, warmup_epochs, replicas,
                         growth_exponent)


def _check_start(learning_rate, batch_size, epochs, dataset_size):
    if learning_rate < 0:
        raise UserError(f"`learning_rate` must be >= 0. Received: {learning_rate}")
    for name, value in (("batch_size", batch_size), ("epochs", epochs), ("dataset_size", dataset_size)):
        if int(value) != value or value < 1:
            raise UserError(f"`{name}` must be an integer > 0. Received: {value}")
    if batch_size > dataset_size:
        raise UserError(f"`batch_size` {batch_size:,} is larger than the data set of {dataset_size:,} examples.")


def check_milestones(milestones, epochs):
    """Raises `UserError` unless milestones increase and are within the run."""
    if list(milestones) != sorted(set(milestones)):
        raise UserError(f"`milestones` must increase. Received: {milestones}")
    if any(not 0 < m < epochs for m in milestones):
        raise UserError(f"`milestones` must be between 0 and the {epochs} epochs of the run. Received: {milestones}")


def _allowed(batch_size, dataset_size, mode, factor, multiples, max_batch_size):
    """Allowed batch sizes, ascending."""
    if mode == "decay" and multiples is None:
        return (batch_size,)
    if max_batch_size is None:
        cap = max(dataset_size // 10 // batch_size, 1) * batch_size
    else:
        cap = max_batch_size
        if not batch_size <= cap <= dataset_size:
            raise UserError(f"`max_batch_size` must be between `batch_size` {batch_size:,} and the {dataset_size:,} "
                            f"examples of the data set. Received: {cap:,}")
    if multiples is not None:
        if list(multiples) != sorted(set(multiples)) or any(m != int(m) or m < 1 for m in multiples):
            raise UserError(f"`multiples` must be increasing integers. Received: {tuple(multiples)}")
        grown = [batch_size * int(m) for m in multiples]
    else:
        if factor <= 1:
            raise UserError(f"`factor`, the growth of the batch, must be > 1. Received: {factor}")
        grown, size = [], float(batch_size)
        while size < cap:
            before, size = size, round(size * factor, 6)
            grown.append(size)
            if size == before:
                raise UserError(f"A `factor` of {factor} does not change a batch of {before:g}. Use a larger one.")
            if mode == "hybrid" or size != int(size):  # a fraction below the cap is an error, see below
                break
    sizes = {batch_size, *(min(size, cap) for size in grown)}
    for size in sorted(sizes):
        if size != int(size):
            raise UserError(f"A batch of {batch_size} grown by {factor} becomes {size:g}, which is not a whole number "
                            "of images. Choose another `factor` or `batch_size`.")
    return tuple(int(size) for size in sorted(sizes))


def _accumulation(batch_size, replicas, limit, least):
    """The smallest number of steps per update, at least `least`, whose batches divide evenly and fit."""
    if batch_size % (replicas * least):
        raise UserError(f"A batch of {batch_size} images cannot be divided into {replicas} replicas x {least} "
                        f"accumulation steps. Use a multiple of {replicas * least}.")
    for steps in range(least, batch_size // replicas + 1):
        if batch_size % (replicas * steps) == 0 and (limit is None or batch_size // (replicas * steps) <= limit):
            return steps
    raise UserError(f"`max_batch_per_replica` must be > 0. Received: {limit}")
