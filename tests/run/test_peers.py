"""Workers of one run: what they must have in common, and whose error ended the others."""

import json

import pytest

from keras_tricks.distribution.shared_texts import PeerFailed, WorkersDiffer
from keras_tricks.recipe import Recipe
from keras_tricks.run import peers, resolve
from keras_tricks.run.failures import WorkerLost
from keras_tricks.utils.errors import UserError

WORKERS = ["worker 0", "worker 1", "worker 2"]


def fail(folder, index, error, workers=WORKERS):
    """The error that leaves the context of a worker in which `error` is raised."""
    with pytest.raises(BaseException) as raised:
        with peers.report_failures(folder, workers, index, lambda error: isinstance(error, ConnectionError)):
            raise error
    return raised.value


def reports(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.txt"))


def test_the_others_raise_the_cause(tmp_path):
    cause = UserError("The disk of /runs is full: free some space.")
    assert fail(tmp_path, 1, cause) is cause
    assert reports(tmp_path) == ["failed/worker-1.txt"]
    for index, lost in ((0, WorkerLost("connection reset")), (2, ConnectionError("refused"))):
        error = fail(tmp_path, index, lost)
        assert isinstance(error, WorkerLost)
        assert str(error) == ("worker 1 failed: The disk of /runs is full: free some space. Start all workers again "
                              "with --resume: they continue from the last checkpoint.")
    assert reports(tmp_path) == ["failed/worker-1.txt"], "a lost connection is not a cause"


@pytest.mark.parametrize("error, text", [
    (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    (KeyboardInterrupt(), "KeyboardInterrupt: KeyboardInterrupt"),
    (UserError("first\nsecond"), "first second"),
])
def test_any_error_is_written_in_one_line(error, text, tmp_path):
    fail(tmp_path, 1, error)
    assert (tmp_path / "failed" / "worker-1.txt").read_text() == text + "\n"


def test_a_worker_that_left_no_error(tmp_path):
    two = str(fail(tmp_path, 0, WorkerLost("connection reset"), WORKERS[:2]))
    assert two.startswith("worker 1 ended or cannot be reached (connection reset). Start all workers again")
    three = str(fail(tmp_path, 0, ConnectionError("refused")))
    assert three.startswith("one of worker 1, worker 2 ended or cannot be reached (refused). Start all workers again")
    assert list(tmp_path.iterdir()) == []


def lose(folder, index, unreachable, monkeypatch):
    monkeypatch.setattr(peers, "LINGER", 0)
    with pytest.raises(WorkerLost) as raised:
        with peers.report_failures(folder, WORKERS, index, lambda error: False, unreachable):
            raise WorkerLost("connection reset")
    return str(raised.value).partition(". Start all")[0]


def test_a_killed_worker_is_named_by_all_others(tmp_path, monkeypatch):
    first = lose(tmp_path, 1, lambda: ["worker 2"], monkeypatch)
    assert first == "worker 2 ended or cannot be reached (connection reset)"
    assert reports(tmp_path) == ["failed/lost.txt"]
    kept = (tmp_path / "failed" / "lost.txt").read_text()
    assert kept == "worker 2"
    with pytest.raises(WorkerLost) as raised:  # worker 1 has ended meanwhile; another start would remove the file
        with peers.report_failures(tmp_path, WORKERS, 0, lambda error: False, lambda: ["worker 1", "worker 2"]):
            (tmp_path / "failed").mkdir(exist_ok=True)
            (tmp_path / "failed" / "lost.txt").write_text(kept)
            raise WorkerLost("connection reset")
    assert str(raised.value).startswith(first)
    assert lose(None, 1, lambda: ["worker 2"], monkeypatch) == first, "without a shared folder"
    assert lose(None, 1, lambda: [], monkeypatch).startswith("one of worker 0, worker 2 ended"), "nobody is found"


def test_errors_of_the_comparison_of_data(tmp_path):
    assert str(fail(tmp_path, 0, PeerFailed("worker 1 failed: no folder."))).startswith(
        "worker 1 failed: no folder. Start all workers again")
    differ = WorkersDiffer("worker 1 has other data")
    assert fail(tmp_path, 0, differ) is differ
    assert list(tmp_path.iterdir()) == [], "this worker is not the cause"


def test_an_earlier_start_is_forgotten(tmp_path):
    fail(tmp_path, 1, UserError("earlier"))
    fail(tmp_path, 2, UserError("of a third worker that is not there any more"))
    with peers.report_failures(tmp_path, WORKERS[:2], 1, lambda error: False):
        assert reports(tmp_path) == ["failed/worker-2.txt"]
        assert "earlier" not in (message := str(fail(tmp_path, 0, WorkerLost("reset"), WORKERS[:2])))
        assert "third" not in message
    with peers.report_failures(tmp_path, WORKERS, 2, lambda error: False):
        assert list(tmp_path.iterdir()) == []


def test_without_a_shared_folder_and_alone(tmp_path):
    assert str(fail(None, 0, UserError("mistake"))) == "mistake"
    assert "ended or cannot be reached" in str(fail(None, 0, WorkerLost("reset")))
    lone = ConnectionError("of the data, not of a worker")
    assert fail(tmp_path, 0, lone, WORKERS[:1]) is lone
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_hides_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    mistake = UserError("mistake")
    assert fail(tmp_path / "file", 0, mistake) is mistake


def test_an_experiment_is_the_recipe_and_versions():
    base = peers.experiment(Recipe())
    assert base["schedule.base_learning_rate"] == "0.1" and base["seed"] == "0"
    assert base["backend"] and base["keras version"] and base["tensorflow version"]
    assert all(isinstance(value, str) for value in base.values())
    assert peers.MAY_DIFFER < set(resolve.flatten(Recipe()))
    assert set(peers.WEIGHT_FILES) < set(base)
    for changes, same in (({"seed": 1}, False), ({"schedule": {"base_learning_rate": 0.2}}, False),
                          ({"name": "other", "data": {"data_dir": "/here", "workers": 3}}, True)):
        assert (peers.experiment(Recipe().replace(**changes)) == base) is same


def test_weight_files_are_compared_by_content(tmp_path):
    def value(folder, content):
        path = tmp_path / folder / "best.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return peers.experiment(Recipe().replace(model={"weights": str(path)}))["model.weights"]

    assert value("a", b"one") == value("b", b"one") != value("c", b"two")
    hub = peers.experiment(Recipe().replace(model={"weights": "timm/resnet50d.ra2_in1k"}))
    assert json.loads(hub["model.weights"]) == "timm/resnet50d.ra2_in1k"
