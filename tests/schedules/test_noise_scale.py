import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_tricks.schedules import exact_noise_scale, forgetting_epochs, noise_scale, same_noise_batch_size

rates = st.floats(1e-4, 10.0)
sizes = st.integers(1, 10**5)
momenta = st.floats(0.0, 0.99)


@pytest.mark.parametrize(
    "rate, batch, momentum", [(0.1, 128, 0.9), (0.5, 640, 0.9), (0.5, 3200, 0.98), (1.0, 128, 0.0)]
)
def test_every_start_on_cifar_has_one_noise_scale(rate, batch, momentum):
    """The original, raised rate and raised momentum of section 5.2: eps / (B (1 - m)) is 1 / 128."""
    assert noise_scale(rate, batch, 50_000, momentum) == pytest.approx(50_000 / 128, rel=1e-12)


@pytest.mark.parametrize("batch, momentum", [(8192, 0.9), (16_384, 0.95), (32_768, 0.975)])
def test_every_momentum_on_imagenet_has_one_noise_scale(batch, momentum):
    assert noise_scale(3.0, batch, 1_281_167, momentum) == pytest.approx(4691.77, abs=0.01)  # 1,281,167 * 0.003662...


@pytest.mark.parametrize(
    "arguments, value",
    [((0.1, 128, 50_000), 38.9625), ((0.1, 128, 50_000, 0.9), 389.625), ((0.032, 5120, 50_000, 0.9), 2.805)],
)
def test_exact_values_by_hand(arguments, value):
    assert exact_noise_scale(*arguments) == pytest.approx(value, rel=1e-12)


def test_the_whole_data_set_as_one_batch_has_no_noise():
    assert exact_noise_scale(0.3, 500, 500, 0.9) == 0.0


@pytest.mark.parametrize("parts, excess", [(1000, 1 / 999), (10, 1 / 9), (2, 1.0)])
def test_the_short_form_is_too_large_near_the_whole_data_set(parts, excess):
    arguments = 0.1, 100, 100 * parts, 0.9
    assert noise_scale(*arguments) / exact_noise_scale(*arguments) - 1 == pytest.approx(excess, rel=1e-9)


@given(rates, sizes, sizes, momenta)
def test_the_two_forms_differ_by_the_rate_over_one_minus_momentum(rate, batch, more, momentum):
    arguments = rate, batch, batch + more, momentum
    gap = noise_scale(*arguments) - exact_noise_scale(*arguments)
    assert gap == pytest.approx(rate / (1 - momentum), rel=1e-6, abs=1e-9 * noise_scale(*arguments))


def test_arrays():
    batches = np.array([128, 640, 3200])
    for form in (noise_scale, exact_noise_scale):
        each = [form(0.1, int(b), 50_000, 0.9) for b in batches]
        np.testing.assert_allclose(form(0.1, batches, 50_000, 0.9), each, rtol=1e-12)


@pytest.mark.parametrize(
    "arguments, batch",
    [
        ((128, 0.1, 0.5), 640),  # section 5.2: raised learning rate
        ((640, 0.5, 0.5, 0.9, 0.98), 3200),  # and raised momentum
        ((8192, 3.0, 3.0, 0.9, 0.95), 16_384),
        ((8192, 3.0, 3.0, 0.9, 0.975), 32_768),
        ((256, 0.1, 0.2, 0.5), 512),  # the momentum stays
    ],
)
def test_batch_sizes_of_the_paper(arguments, batch):
    assert same_noise_batch_size(*arguments) == pytest.approx(batch, rel=1e-12)


@settings(deadline=None)
@given(sizes, rates, rates, momenta, momenta)
def test_the_new_batch_size_keeps_the_noise_scale(batch, rate, new_rate, momentum, new_momentum):
    new = same_noise_batch_size(batch, rate, new_rate, momentum, new_momentum)
    before, after = noise_scale(rate, batch, 10**6, momentum), noise_scale(new_rate, new, 10**6, new_momentum)
    assert after == pytest.approx(before, rel=1e-9)


@pytest.mark.parametrize("batch_size, dataset_size, momentum, epochs", [
    (128, 50_000, 0.9, 0.0256), (3200, 50_000, 0.98, 3.2), (640, 50_000, 0.9, 0.128), (8192, 1_281_167, 0.9, 0.06394),
    (32_768, 1_281_167, 0.975, 1.02306), (64, 6400, 0.0, 0.01)])
def test_a_larger_momentum_forgets_later(batch_size, dataset_size, momentum, epochs):
    assert forgetting_epochs(batch_size, dataset_size, momentum) == pytest.approx(epochs, rel=1e-4)


def test_a_momentum_forgets_to_1_over_e():
    """The weight m ** n of a gradient after n = 1 / (1 - m) updates, of which an epoch has N / B."""
    updates = forgetting_epochs(64, 6400, 0.99) * 6400 / 64
    assert 0.99**updates == pytest.approx(1 / 2.71828, rel=0.01)
