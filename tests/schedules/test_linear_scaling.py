import pytest

from keras_tricks.schedules import linear_scaling


@pytest.mark.parametrize("batch_size, rate", [(256, 0.1), (1024, 0.4), (64, 0.025), (8192, 3.2)])
def test_the_rate_of_the_paper(batch_size, rate):
    assert linear_scaling(batch_size) == pytest.approx(rate, rel=1e-15)


def test_another_base():
    assert linear_scaling(96, base_learning_rate=0.4, base_batch_size=128) == pytest.approx(0.3, rel=1e-15)
