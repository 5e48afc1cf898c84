"""``codriver models``: on the store itself, and through the admin service of a running feedback service."""

import asyncio
import json
import os
import threading

import grpc
import pytest

from codriver.serving.listen import listen
from feedback_service.registry import add_command, list_command, remove_command, use_command
from feedback_service.registry.service_file import (
    ServiceFacts,
    read_service_file,
    remove_service_file,
    write_service_file,
)
from feedback_service.registry.store import ModelStore
from feedback_service.service.admin import FeedbackAdminService

from .conftest import write_clip_weights, write_vlm
from .test_swap import Bench

VERBS = {"add": add_command, "list": list_command, "use": use_command, "remove": remove_command}


@pytest.fixture
def models(tmp_path, capsys, monkeypatch):
    """Runs a verb; returns status, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(verb, *arguments, store=tmp_path / "store"):
        capsys.readouterr()
        status = VERBS[verb].main([*map(str, arguments), "--store", str(store)])
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def service(tmp_path, shipped):
    """A running admin service on the store, with a scripted Triton."""
    bench, ready, loops = Bench(tmp_path, shipped), threading.Event(), []

    async def serve():
        async with bench:
            await bench.started()
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((FeedbackAdminService(bench.switch).handler(),))
            address = listen(server, f"unix:{tmp_path}/admin.sock")
            await server.start()
            stop = asyncio.Event()
            loops.append((asyncio.get_running_loop(), stop))
            write_service_file(bench.store.directory, ServiceFacts(address, os.getpid()))
            ready.set()
            await stop.wait()
            await server.stop(1)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(60)
    yield bench
    loop, stop = loops[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(60)
    assert not thread.is_alive()


def listed(models):
    status, out, _ = models("list", "--json")
    assert status == 0
    return {model["name"]: model for model in json.loads(out)["models"]}


def test_without_a_service_the_next_start_is_prepared(models, tmp_path):
    status, out, err = models("add", "vlm", write_vlm(tmp_path / "mine"))
    assert (status, out.split(":")[0]) == (0, "mine") and "internvl, 24 parameters" in out
    status, out, err = models("use", "mine")
    assert (
        status == 0
        and out.startswith("vlm: mine (version ")
        and "when one starts" in err
        and "warning" not in err
    )
    assert listed(models)["mine"]["coaches"] == ["vlm"]
    status, out, err = models("list")
    assert status == 0 and "mine" in out and "internvl" in out and "No feedback service runs" in err
    status, _, err = models("remove", "mine")
    assert status == 2 and err.startswith("codriver models remove: coach vlm uses mine.")
    status, out, err = models("use", "mine", "--coach", "second")
    assert status == 0 and out.startswith("second: mine") and "and no 'second'" in err
    status, _, err = models("use", "mine", "--coach", "clip")
    assert status == 2 and "model for vlm coaches" in err


def test_weights_of_an_open_clip_model(models, tmp_path):
    weights = write_clip_weights(tmp_path / "weights.safetensors")
    arguments = ("add", "clip", weights, "--open-clip", "ViT-B-16", "--image-size", 192, "--name", "vit-b-16")
    status, out, _ = models(*arguments)
    assert status == 0 and "open_clip, 11 parameters" in out
    path = ModelStore(tmp_path / "store").get("vit-b-16").path
    card = json.loads((path / "card.json").read_text())
    assert card["open_clip"] == "ViT-B-16" and card["image_size_px"] == 192
    status, _, err = models(*arguments)
    assert status == 2 and "already" in err and len(list(path.parent.iterdir())) == 1
    assert models("remove", "vit-b-16")[0] == 0 and not path.exists() and weights.exists()
    for wrong in (
        ("add", "clip", weights),
        ("add", "clip", tmp_path, "--image-size", 192),
        ("add", "vlm", weights, "--open-clip", "ViT-B-16"),
        ("add", "clip", weights, "--open-clip", "ViT-B-16", "--image-size", 7),
        ("add", "clip", weights, "--open-clip", "ViT-B-16", "--name", "NO"),
    ):
        status, out, err = models(*wrong)
        assert (status, out, err.count("\n")) == (2, "", 1)
    assert list((tmp_path / "store" / "models").iterdir()) == []


def test_bad_input_is_one_line_and_status_2(models, tmp_path):
    (tmp_path / "file").write_text("")
    for arguments in (
        ("add", "vlm", tmp_path / "nowhere"),
        ("use", "nobody"),
        ("remove", "nobody"),
        ("remove", "vlm-small"),
        ("list", "--service", "no address"),
        ("list", "--service", "unix:/nowhere/x", "--tls-ca", tmp_path / "file"),
        ("list", "--service", f"unix:{tmp_path}/nobody.sock"),
    ):
        status, out, err = models(*arguments)
        assert (status, out, err.count("\n")) == (2, "", 1), err
    with pytest.raises(SystemExit) as end:
        models("add", "sound", tmp_path)
    assert end.value.code == 2


@pytest.mark.parametrize("verb", VERBS)
def test_help_ends_with_an_example(models, verb, capsys):
    with pytest.raises(SystemExit):
        VERBS[verb].main(["--help"])
    assert f"codriver models {verb}" in capsys.readouterr().out.split("example")[-1]


def test_with_a_service_everything_is_at_once(models, service, tmp_path):
    assert models("add", "vlm", write_vlm(tmp_path / "new", fill=2.0))[0] == 0
    status, out, err = models("use", "new")
    assert status == 0 and "answers instead of vlm-small; ready after" in out and err == ""
    assert service.coaches["vlm"].route.model_id == "new"
    found = listed(models)
    assert found["new"]["coaches"] == ["vlm"] and found["vlm-small"]["coaches"] == []
    status, _, err = models("remove", "new")
    assert status == 2 and "coach vlm uses new" in err
    service.add("bad", load_error="it does not load")
    status, out, err = models("use", "bad", "--coach", "vlm")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "it does not load; new goes on answering for vlm" in err
    assert listed(models)["bad"]["problem"] == "it does not load"
    assert "bad: it does not load" in models("list")[1]
    assert models("use", "vlm-small")[0] == 0 and models("remove", "new")[0] == 0
    assert "new" not in listed(models)
    status, _, err = models("use", "nobody")
    assert status == 2 and "it has: bad, clip-small, vlm-small" in err


def test_service_file_of_a_dead_service_counts_as_none(tmp_path):
    process = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(process, 0)
    write_service_file(tmp_path, ServiceFacts("127.0.0.1:1", process))
    assert read_service_file(tmp_path) is None
    write_service_file(tmp_path, ServiceFacts("127.0.0.1:1", os.getpid(), tls=True))
    assert read_service_file(tmp_path) == ServiceFacts("127.0.0.1:1", os.getpid(), True)
    remove_service_file(tmp_path, os.getpid() + 1)
    assert read_service_file(tmp_path) is not None
    remove_service_file(tmp_path, os.getpid())
    assert read_service_file(tmp_path) is None
    (tmp_path / "service.json").write_text("{")
    assert read_service_file(tmp_path) is None
