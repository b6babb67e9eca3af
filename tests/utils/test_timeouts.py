import pytest

from keras_tricks.utils.errors import UserError
from keras_tricks.utils.timeouts import default_timeout


@pytest.mark.parametrize("text, seconds", [("", 300), ("2.5", 2.5)])
def test_timeout_of_the_environment(text, seconds, monkeypatch):
    monkeypatch.setenv("KERAS_TRICKS_TIMEOUT", text)
    assert default_timeout() == seconds


def test_default_timeout(monkeypatch):
    monkeypatch.delenv("KERAS_TRICKS_TIMEOUT", raising=False)
    assert default_timeout() == 300


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "long"])
def test_invalid_timeouts(text, monkeypatch):
    monkeypatch.setenv("KERAS_TRICKS_TIMEOUT", text)
    with pytest.raises(UserError, match=f"KERAS_TRICKS_TIMEOUT must be a number of seconds > 0.*'{text}'"):
        default_timeout()
