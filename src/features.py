"""Stage `features`: what the frozen backbones of params.yaml see in every image and in its mirror image."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse
import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from posterity import files, resume_folder
from posterity.cache import feature_reuse, reuse, reuse_folder
from posterity.cache.feature_parts import in_parts
from posterity.cache.features import BACKBONE, HOLDS, FeatureWriter, write_meta
from posterity.cache.kept_graphs import KeptGraphs
from posterity.cache.tensors import TensorCache
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.text import printable
from posterity.workers import ray_cluster
from posterity.workers.threads import chunks

if TYPE_CHECKING:
    import keras

    from posterity.config.schema import DeviceParams, Params, WorkersParams


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "Computed once, for model.name: backbone: training the head on them takes seconds. For other networks there is "
        "nothing to do. A run that was interrupted goes on after its last finished part. The next run computes only "
        "those of new images: machine.reuse_folder keeps the others.",
        reads=["tensors"],
        writes=["features", "resume-features"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    earlier_folder = Path(params.machine.reuse_folder) if params.machine.reuse_folder else None
    if earlier_folder:
        used = {"model.backbone_folder": Path(params.model.backbone_folder)}
        reuse_folder.check_folder(earlier_folder, used | {"--tensors": args.tensors, "--features": args.features})
        if reason := reuse.hold(earlier_folder, args.tensors):
            print(f"The tensors are not kept for the next run: {printable(reason)}.")
    if params.model.name != "backbone":
        with files.replacing_folder(args.features, holds=HOLDS) as folder:
            folder.mkdir()
            write_meta(folder, [], num_rows=0, length=0)
        print(f"model.name is {params.model.name}: no features to compute.")
        return
    cache = TensorCache(args.tensors)
    with contextlib.ExitStack() as stack:
        look_up = stack.enter_context(feature_reuse.digests_ahead(cache, earlier_folder)) if earlier_folder else None
        _write_features(args, params, cache, earlier_folder, look_up)


def _write_features(
    args: argparse.Namespace,
    params: "Params",
    cache: TensorCache,
    earlier_folder: Path | None,
    look_up: Callable[[], list[str]] | None,
) -> None:
    """Compute features of all images, but those that ``earlier_folder`` has by the digests that ``look_up`` returns."""
    settings = params.machine.device

    from posterity.nn import device

    # Not params.seed: a pretrained network has nothing to draw, and another seed must not compute all this again.
    device.configure(settings, seed=0)

    from posterity.nn import keras_file
    from posterity.nn.inference import engines, features
    from posterity.nn.networks import backbones, extractor

    engines.chosen(settings.inference_engine, settings.inference_precision)  # what is not possible is said at once
    spec = cache.spec
    model = extractor.feature_model(
        [
            backbones.load(
                entry,
                folder=params.model.backbone_folder,
                weights=params.model.weights,
                height=spec.height,
                width=spec.width,
                name=f"backbone{number}",
                pyramid_levels=params.model.pyramid_levels,
            )
            for number, entry in enumerate(params.model.backbone, start=1)
        ],
    )
    length = model.output_shape[1]
    batches = chunks(range(len(cache)), feature_reuse.BATCH_SIZE)
    with files.replacing_folder(args.features, holds=HOLDS) as folder, contextlib.ExitStack() as stack:
        folder.mkdir()
        network = folder / BACKBONE
        keras_file.save(model, network)
        graphs = KeptGraphs(
            earlier_folder, feature_reuse.network_key("graph", network, engines.GRAPH_SOURCES) if earlier_folder else ""
        )
        compute = _computer(model, network, cache, graphs, settings, params.machine.workers, stack)
        if earlier_folder and look_up:
            sources = [device.__file__, features.__file__, *engines.SOURCES]
            network_key = feature_reuse.network_key(settings.model_dump_json(), network, sources)
            earlier = feature_reuse.EarlierFeatures(earlier_folder, network_key, length)
            if len(earlier):  # otherwise all images are new, and their digests are wanted at the end only
                compute = feature_reuse.computing_new(compute, earlier, look_up())
        # The network itself says which weights it has, whatever the file or the download that they are from.
        key = resume_folder.work_key(settings.model_dump_json(), [network, args.tensors / "meta.json"])
        kept = resume_folder.open_folder(args.resume_features, key)
        seen = in_parts(kept, batches, length, compute)
        writer = stack.enter_context(FeatureWriter(folder, len(cache), length))
        progress = stack.enter_context(tqdm(total=len(cache), desc="features", unit=" images", mininterval=1, delay=2))
        for vectors in seen:
            writer.append(vectors)
            progress.update(len(vectors))
        levels = params.model.pyramid_levels
        write_meta(folder, params.model.backbone, num_rows=len(cache), length=length, pyramid_levels=levels)
    if kept:
        resume_folder.remove(kept)
    if earlier_folder and look_up:
        digests = look_up()
        num_known = sum(digest in earlier for digest in digests)
        note = f"; {printable(earlier.reason)}" if earlier.reason else ""
        print(f"{num_known:,} images known, {len(cache) - num_known:,} new{note}.")
        if reason := feature_reuse.keep(earlier_folder, args.features, network_key, digests, cache):
            print(f"Nothing is kept for the next run: {printable(reason)}.")
    names = " + ".join(params.model.backbone)
    print(f"{length:,} features of {len(cache):,} images and their mirror images by {printable(names)}.")


def _computer(
    model: "keras.Model",
    network: Path,
    cache: TensorCache,
    graphs: KeptGraphs,
    settings: "DeviceParams",
    workers: "WorkersParams",
    stack: contextlib.ExitStack,
) -> feature_reuse.Compute:
    """The function that computes features of batches, here or on Ray.

    What it needs is made when it is first called, which is never if all images are known: the export takes seconds.
    """
    from posterity.nn.inference import engines
    from posterity.nn.inference.features import NUM_EXAMPLES, compute_features, in_both_views

    @functools.cache
    def mapping() -> feature_reuse.Compute:
        examples = cache.images(range(min(NUM_EXAMPLES, len(cache))))
        # With Ray, too: what its tasks say of the engine is not seen here.
        compute = engines.batch_function(
            model,
            settings.inference_engine,
            examples,
            at=settings.inference_precision,
            cpu_threads=settings.cpu_threads,
            graphs=graphs,
        )
        if workers.run_on != "ray":
            return functools.partial(in_both_views, cache=cache, compute=compute)
        mapper = stack.enter_context(ray_cluster.mapper(workers.ray_address))
        work = functools.partial(
            compute_features, network=str(network), tensors=str(cache.folder), settings=settings, graphs=graphs
        )
        return functools.partial(mapper, work)

    return lambda batches: mapping()(batches)


if __name__ == "__main__":
    script.run(main)
