"""The work of a stage on Ray: a cluster of two nodes on this machine."""

import functools
import io
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import preprocess
import validate
from posterity.cache.tensor_writer import CacheWriter
from posterity.errors import UserError
from posterity.pixels import decode
from posterity.pixels.decode import ImageArray, ImageProblem, decode_all
from posterity.pixels.spec import ImageSpec
from posterity.workers import ray_cluster, threads
from small_project import SRC, SmallProject, environment

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker finds the tests
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def nodes():
    from ray.cluster_utils import Cluster

    # Any, so that the second node can be noted on it.
    nodes: Any = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    nodes.second = nodes.add_node(**NODE)
    yield nodes
    nodes.shutdown()


@pytest.fixture(scope="module")
def on_ray(nodes):
    with ray_cluster.mapper(nodes.address) as mapper:
        yield mapper


def square(number):
    return number**2


def refuse(number):
    raise UserError(f"{number} is none")


def crash(number):
    os._exit(1)


def surroundings(number):
    return ray_cluster.__file__, Path.cwd(), os.environ["TF_NUM_INTRAOP_THREADS"]


def test_results_come_in_order(on_ray):
    assert list(on_ray(square, range(50))) == [k * k for k in range(50)]


def test_only_a_few_items_are_taken_ahead(on_ray):
    taken = []

    def numbers():
        for number in range(100):
            taken.append(number)
            yield number

    results = on_ray(square, numbers())
    assert next(results) == 0
    assert len(taken) == ray_cluster.TASKS_PER_CPU * 2
    results.close()


def test_an_exception_is_raised_as_it_is(on_ray):
    with pytest.raises(UserError, match="^7 is none$") as caught:
        next(on_ray(refuse, [7]))
    assert type(caught.value) is UserError
    assert "in refuse" in str(caught.value.__cause__)  # the traceback of the worker


def test_a_process_that_dies_is_given_up_in_the_end(on_ray, monkeypatch):
    monkeypatch.setattr(ray_cluster, "RETRIES", 1)
    with pytest.raises(UserError, match="A task could not be done there: "):
        next(on_ray(crash, [7]))


def test_workers_run_this_code_in_this_folder(on_ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert next(on_ray(surroundings, [0])) == (ray_cluster.__file__, tmp_path, "1")


def test_a_folder_that_a_machine_does_not_see_is_said():
    with pytest.raises(UserError, match="expected machines that all see /nowhere, as on a shared file system. Got "):
        ray_cluster._in_folder("/nowhere", square, 2)


def test_images_are_decoded_to_the_same_bytes(on_ray, tmp_path, monkeypatch):
    project = SmallProject(tmp_path)
    (tmp_path / "images" / "empty.jpg").touch()
    paths = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "images").iterdir())
    monkeypatch.chdir(project.root)  # relative paths mean the same on the workers
    spec = ImageSpec(height=40, width=30)
    here, there = list(decode_all(paths, spec, threads.threads(1))), list(decode_all(paths, spec, on_ray))
    for path, expected, given in zip(paths, here, there, strict=True):
        if isinstance(expected, ImageProblem):
            assert isinstance(given, ImageProblem), path
            assert (given.kind, str(given)) == (expected.kind, str(expected)), path
        else:
            np.testing.assert_array_equal(given, expected)
    assert sum(isinstance(result, ImageProblem) for result in there) == 1


LOCAL = """
import validate, preprocess, split, features, train, evaluate, predict
validate.main([])
preprocess.main([])
split.main([])

import keras
keras.utils.set_random_seed(3)
pixels = keras.Input((None, None, 3))
seen = keras.layers.Conv2D(6, 5, strides=4)(keras.layers.Rescaling(1 / 255)(pixels))
keras.Model(pixels, seen).save("backbones/tiny.keras")
keras.utils.clear_session()  # or layers without a name would get higher numbers than in a process of their own

features.main([])
train.main([])
evaluate.main([])
predict.main(["new"])
"""
OF_OTHER_STAGES = {"split.csv", "scores.npy", "out_of_fold.npy", "scores.csv", "suspect_labels.csv"}
ON_RAY = """
import preprocess, features, predict
preprocess.main([])
features.main([])
predict.main(["new"])
"""


@pytest.mark.proof
def test_stages_write_the_same_bytes(nodes, tmp_path):
    project = SmallProject(tmp_path)
    project.params(
        {
            "model.name": "backbone",
            "model.backbone": ["tiny.keras"],
            "model.backbone_folder": "backbones",
            "machine.device.inference_engine": "auto",
            "predict.images": {"new": "images"},
        }
    )
    (tmp_path / "backbones").mkdir()

    def run(*command):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def made():
        return {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}

    run("-c", LOCAL)
    expected = made()
    assert {"images-00000.npy", "features.npy", "new.csv"} <= {path.name for path in expected}
    for path in expected:
        if path.name not in OF_OTHER_STAGES:
            path.unlink()

    project.params({"machine.workers.run_on": "ray"})
    run(str(SRC / "validate.py"))  # starts Ray
    project.params({"machine.workers.ray_address": nodes.address})
    run("-c", ON_RAY)
    assert made() == expected


def node_after(seconds, number):
    time.sleep(seconds)
    # Too large to travel beside the answer: it lies on the node until it is fetched, and is lost with it.
    return np.full(50_000, number), ray.get_runtime_context().get_node_id()


def test_a_node_that_dies_midway_loses_nothing(nodes, on_ray):
    ran_on, numbers = set(), []
    for array, node in on_ray(functools.partial(node_after, 0.1), range(60)):
        numbers.append(array[-1])
        if node == nodes.second.node_id and node not in ran_on:
            nodes.remove_node(nodes.second, allow_graceful=False)  # with tasks on it
        ran_on.add(node)
    assert numbers == list(range(60))
    assert ran_on == {nodes.head_node.node_id, nodes.second.node_id}


def test_preprocess_goes_on_without_a_node_that_dies(nodes, on_ray, tmp_path, monkeypatch):
    nodes.second = nodes.add_node(**NODE)  # the last one is gone
    project = SmallProject(tmp_path)
    noise = io.BytesIO()
    pixels = np.random.default_rng(0).integers(256, size=(2000, 1500, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(noise, "jpeg")  # some time to decode
    for id_ in project.ids:
        project.image(id_).write_bytes(noise.getvalue() + id_.encode())
    monkeypatch.chdir(tmp_path)
    validate.main([])
    preprocess.main(["--tensors", "local", "--rows", "local-rows", "--issues", "local.csv", "--metrics", "local.json"])

    appended: list[ImageArray] = []
    append = CacheWriter.append

    def append_and_kill(writer, image):
        if len(appended) == 3:
            nodes.remove_node(nodes.second, allow_graceful=False)
        appended.append(image)
        append(writer, image)

    monkeypatch.setattr(decode, "FILES_PER_TASK", 1)
    monkeypatch.setattr(CacheWriter, "append", append_and_kill)
    project.params({"machine.workers.run_on": "ray", "machine.workers.ray_address": nodes.address})
    preprocess.main(["--tensors", "on_ray", "--issues", "on_ray.csv", "--metrics", "on_ray.json"])
    assert len(appended) == len(project.ids)
    for written in (tmp_path / "local").iterdir():
        assert (tmp_path / "on_ray" / written.name).read_bytes() == written.read_bytes()
    assert (tmp_path / "on_ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()


def run_out_of_memory(number):
    raise ray.exceptions.OutOfMemoryError("the node was low on memory")  # what Ray says of a task that it ended


def test_a_cluster_that_is_gone_is_said(on_ray, monkeypatch):
    def gone(task):
        raise ConnectionError("Client is shutting down.")  # what Ray's client raises

    monkeypatch.setattr(ray, "get", gone)
    with pytest.raises(UserError, match="It is gone: Client is shutting down. Start it anew"):
        list(on_ray(square, [1]))


def test_memory_that_ran_out_is_said(on_ray):
    with pytest.raises(UserError, match="have memory enough. A task could not be done there: .*low on memory"):
        list(on_ray(run_out_of_memory, [1]))


def test_no_cluster_is_said():
    ray.shutdown()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        for given in (address, f"ray://{address}"):
            with pytest.raises(UserError, match=f"of a running cluster .*Got '{given}': .*refused. Start one by"):
                ray_cluster.mapper(given).__enter__()


def test_a_missing_package_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="needs the package ray. Got none."):
        ray_cluster.mapper().__enter__()
