"""The store: names, choices, races between processes, and processes that are killed."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from codriver.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from feedback_service.registry.inspect import CLIP, VLM
from feedback_service.registry.refusal import NotAModelError
from feedback_service.registry.store import ModelStore
from feedback_service.registry.store_file import StoreFile

from .conftest import write_clip, write_vlm


@pytest.fixture
def store(tmp_path, shipped):
    return ModelStore(tmp_path / "store", shipped)


def test_shipped_models_are_always_there(store):
    assert [(model.name, model.kind, model.shipped) for model in store.list()] == [
        ("clip-small", CLIP, True),
        ("vlm-small", VLM, True),
    ]
    assert store.in_use("vlm") == "vlm-small" and store.in_use("clip") == "clip-small"
    assert store.in_use("second-opinion", VLM) == "vlm-small"
    with pytest.raises(NotFoundError):
        store.in_use("second-opinion")
    assert not store.directory.exists(), "reading makes nothing"


def test_shipped_model_that_is_not_in_the_checkout(tmp_path):
    store = ModelStore(tmp_path / "store", tmp_path / "nothing")
    model = store.get("vlm-small")
    assert model.version == "" and "there is no directory" in model.problem


def test_add_use_list_remove(tmp_path, store):
    added = store.add(VLM, write_vlm(tmp_path / "My Model"))
    assert added.name == "my-model" and added.parameters == 24
    store.set_in_use("vlm", "my-model")
    again = ModelStore(store.directory, tmp_path / "shipped")
    assert again.get("my-model") == added
    assert again.in_use("vlm") == "my-model" and again.coaches() == {"vlm": "my-model", "clip": "clip-small"}
    message = again.get("my-model").message(again.coaches())
    assert (message.name, list(message.coaches), message.version) == ("my-model", ["vlm"], added.version)
    with pytest.raises(FailedPreconditionError, match="coach vlm uses my-model"):
        store.remove("my-model")
    store.set_in_use("vlm", "vlm-small")
    store.remove("my-model")
    assert [model.name for model in again.list()] == ["clip-small", "vlm-small"]
    assert (tmp_path / "My Model").exists(), "the checkpoint itself stays"


def test_what_is_refused(tmp_path, store):
    directory = write_vlm(tmp_path / "m")
    for name in ("", "UPPER", "a/b", "..", ".hidden", "a" * 65, "a\n", "ä"):
        with pytest.raises(InvalidArgumentError):
            store.add(VLM, directory if name else write_vlm(tmp_path / ("x" * 70)), name)
    store.add(VLM, directory, "one")
    for taken in ("one", "vlm-small"):
        with pytest.raises(AlreadyExistsError):
            store.add(VLM, directory, taken)
    with pytest.raises(NotAModelError):
        store.add(CLIP, directory, "two")
    for act in (store.get, store.remove, lambda name: store.set_in_use("vlm", name)):
        with pytest.raises(NotFoundError, match="it has: clip-small, one, vlm-small"):
            act("nobody")
    with pytest.raises(FailedPreconditionError, match="comes with codriver"):
        store.remove("vlm-small")


def test_problem_is_kept_until_it_is_gone(tmp_path, store):
    store.add(VLM, write_vlm(tmp_path / "m"), "m")
    for name in ("m", "vlm-small"):
        store.set_problem(name, "it would not load")
        assert store.get(name).problem == "it would not load"
        store.set_problem(name, "")
        assert store.get(name).problem == ""
    store.set_problem("m", "again")
    store.remove("m")
    store.set_problem("m", "late")
    store.add(VLM, tmp_path / "m", "m")
    assert store.get("m").problem == ""


def test_refresh_sees_changed_and_broken_directories(tmp_path, store):
    directory = write_vlm(tmp_path / "m")
    added = store.add(VLM, directory, "m")
    assert store.refresh("m") == added
    (directory / "tokenizer.json").write_text('{"new": 1}')
    assert store.refresh("m").version != added.version
    assert store.get("m").version == store.refresh("m").version
    (directory / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(NotAModelError, match=r"model\.safetensors"):
        store.refresh("m")
    directory.rename(tmp_path / "gone")
    with pytest.raises(NotAModelError, match="there is no directory"):
        store.refresh("m")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": "codriver-models/2", "models": {}, "coaches": {}, "problems": {}}',
        '{"format": "codriver-models/1", "models": [], "coaches": {}, "problems": {}}',
        '{"format": "codriver-models/1", "models": {"m": {}}, "coaches": {}, "problems": {}}',
        '{"format": "codriver-models/1", "models": {"m": 1}, "coaches": {}, "problems": {}}',
    ],
)
def test_damaged_file_is_named_and_never_overwritten(tmp_path, store, text):
    store.directory.mkdir()
    file = store.directory / "models.json"
    file.write_text(text)
    directory = write_vlm(tmp_path / "m")
    for act in (store.list, lambda: store.in_use("vlm"), lambda: store.add(VLM, directory, "m")):
        with pytest.raises(FailedPreconditionError, match=r"models\.json is damaged: "):
            act()
    assert file.read_text() == text


def test_unwritable_store(tmp_path, shipped):
    (tmp_path / "file").write_text("")
    store = ModelStore(tmp_path / "file" / "store", shipped)
    with pytest.raises(FailedPreconditionError):
        store.set_in_use("vlm", "vlm-small")


def test_directory_that_the_store_made_goes_with_the_model(store):
    made = write_clip(store.made_directory / "mine-1a2b")
    store.add(CLIP, made, "mine")
    store.remove("mine")
    assert not made.exists()


def _add_many(directory, shipped, source, names):
    store = ModelStore(directory, shipped)
    for name in names:
        store.add(VLM, source, name)
        store.set_in_use(name, name)


def test_processes_at_the_same_time_lose_nothing(tmp_path, store):
    source = write_vlm(tmp_path / "m")
    names = [[f"p{process}-{number}" for number in range(8)] for process in range(4)]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_add_many, args=(store.directory, tmp_path / "shipped", source, part))
        for part in names
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    every = {name for part in names for name in part}
    assert {model.name for model in store.list()} == every | {"clip-small", "vlm-small"}
    assert set(store.coaches()) == every | {"vlm", "clip"}


def test_killed_at_any_point_the_file_is_whole(tmp_path, store):
    source = write_vlm(tmp_path / "m")
    for name in ("a", "b"):
        store.add(VLM, source, name)
    program = (
        "import sys, itertools; from pathlib import Path\n"
        "from feedback_service.registry.store import ModelStore\n"
        "store = ModelStore(Path(sys.argv[1]), Path(sys.argv[2])); print('on', flush=True)\n"
        "for name in itertools.cycle('ab'): store.set_in_use('vlm', name)"
    )
    for pause_s in (0.0, 0.007, 0.023):
        process = subprocess.Popen(
            [sys.executable, "-c", program, store.directory, tmp_path / "shipped"], stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"on\n"
        time.sleep(pause_s)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
        process.stdout.close()
        state = json.loads((store.directory / "models.json").read_text())
        assert set(state["models"]) == {"a", "b"} and state["coaches"].get("vlm", "a") in (
            "a",
            "b",
            "vlm-small",
        )
        store.set_in_use("vlm", "vlm-small")  # the lock went with the process
        assert store.in_use("vlm") == "vlm-small"


def test_lock_that_somebody_holds(tmp_path, store):
    hurried = ModelStore(store.directory, tmp_path / "shipped", lock_timeout_s=0.2)
    with StoreFile(store.directory).change(), pytest.raises(UnavailableError, match="locked by another"):
        hurried.set_in_use("vlm", "vlm-small")
    hurried.set_in_use("vlm", "vlm-small")
