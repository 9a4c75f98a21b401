"""The work of a stage on Ray: a cluster of two nodes on this machine."""

import functools
import os
import time

import numpy as np
import pytest

import small_project
from posterity import cluster, parallel
from posterity.errors import UserError
from posterity.images import ImageProblem, ImageSpec, decode_all

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes():
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=options)
    options.pop("include_dashboard")
    yield nodes, nodes.add_node(**options)
    nodes.shutdown()


@pytest.fixture(scope="module")
def on_ray(nodes):
    with cluster.mapper(nodes[0].address) as mapper:
        yield mapper


def square(number):
    return number**2


def refuse(number):
    raise UserError(f"{number} is none")


def test_results_come_in_order(on_ray):
    assert list(on_ray(square, range(50))) == [k * k for k in range(50)]


def test_only_a_few_items_are_taken_ahead(on_ray):
    taken = []
    results = on_ray(square, (taken.append(k) or k for k in range(100)))
    assert next(results) == 0
    assert len(taken) == cluster.TASKS_PER_CPU * 2
    results.close()


def test_an_exception_is_raised_as_it_is(on_ray):
    with pytest.raises(UserError, match="^7 is none$"):
        next(on_ray(refuse, [7]))


def test_images_are_decoded_to_the_same_bytes(on_ray, tmp_path, monkeypatch):
    project = small_project.SmallProject(tmp_path)
    (tmp_path / "images" / "empty.jpg").touch()
    paths = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "images").iterdir())
    monkeypatch.chdir(project.root)  # relative paths mean the same on the workers
    spec = ImageSpec(height=40, width=30)
    here, there = list(decode_all(paths, spec, parallel.threads(1))), list(decode_all(paths, spec, on_ray))
    for path, expected, given in zip(paths, here, there, strict=True):
        if isinstance(expected, ImageProblem):
            assert (given.kind, str(given)) == (expected.kind, str(expected)), path
        else:
            np.testing.assert_array_equal(given, expected)
    assert sum(isinstance(result, ImageProblem) for result in there) == 1


def node_after(seconds, number):
    time.sleep(seconds)
    return number, ray.get_runtime_context().get_node_id()


def test_a_node_that_dies_midway_loses_nothing(nodes, on_ray):
    both, second = nodes
    results = on_ray(functools.partial(node_after, 0.1), range(60))
    ran_on, numbers = set(), []
    for number, node in results:
        numbers.append(number)
        if node == second.node_id and second.node_id not in ran_on:
            both.remove_node(second, allow_graceful=False)  # with tasks on it
        ran_on.add(node)
    assert numbers == list(range(60))
    assert second.node_id in ran_on
    assert len(ran_on) == 2


def test_no_cluster_is_said():
    ray.shutdown()
    with pytest.raises(UserError, match="ray.address: expected the address of a running cluster. Got '127.0.0.1:9'"):
        cluster.mapper("127.0.0.1:9").__enter__()


def test_a_missing_package_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UserError, match="needs the package ray. Got none."):
        cluster.mapper().__enter__()


def test_validate_and_preprocess_write_the_same_bytes(tmp_path):
    import subprocess
    import sys

    written = {}
    for engine in ("local", "ray"):
        project = small_project.SmallProject(tmp_path / engine)
        project.params({"preprocess.engine": engine})
        for stage in ("validate", "preprocess"):
            script = str(cluster.SRC / f"{stage}.py")
            subprocess.run([sys.executable, script], cwd=project.root, check=True, env=os.environ)
        files = sorted(path for path in (project.root / "data").rglob("*") if path.is_file())
        written[engine] = {path.relative_to(project.root).as_posix(): path.read_bytes() for path in files}
    assert "data/tensors/images-00000.npy" in written["ray"]
    assert written["ray"] == written["local"]
