"""Stage `features`: what the frozen backbones of params.yaml see in every image and in its mirror image."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse
import contextlib
import functools

from tqdm import tqdm

from posterity import files, resume_folder
from posterity.cache.feature_parts import in_parts
from posterity.cache.features import BACKBONE, HOLDS, FeatureWriter, write_meta
from posterity.cache.tensors import TensorCache
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.text import printable
from posterity.workers import ray_cluster
from posterity.workers.threads import chunks

BATCH_SIZE = 32


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "Computed once, for model.name: backbone: training the head on them takes seconds. For other networks there is "
        "nothing to do. A run that was interrupted goes on after its last finished part.",
        reads=["tensors"],
        writes=["features", "resume-features"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    settings, workers = params.machine.device, params.machine.workers
    if params.model.name != "backbone":
        with files.replacing_folder(args.features, holds=HOLDS) as folder:
            folder.mkdir()
            write_meta(folder, [], num_rows=0, length=0)
        print(f"model.name is {params.model.name}: no features to compute.")
        return
    cache = TensorCache(args.tensors)

    from posterity.nn import device

    # Not params.seed: a pretrained network has nothing to draw, and another seed must not compute all this again.
    device.configure(settings, seed=0)

    from posterity.nn import keras_file
    from posterity.nn.inference import engines
    from posterity.nn.inference.features import NUM_EXAMPLES, both_views, compute_features
    from posterity.nn.networks import backbones, extractor

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
            )
            for number, entry in enumerate(params.model.backbone, start=1)
        ],
    )
    length = model.output_shape[1]
    batches = chunks(range(len(cache)), BATCH_SIZE)
    with files.replacing_folder(args.features, holds=HOLDS) as folder, contextlib.ExitStack() as stack:
        folder.mkdir()
        keras_file.save(model, folder / BACKBONE)
        examples = cache.images(range(min(NUM_EXAMPLES, len(cache))))
        # With Ray, too: what its tasks say of the engine is not seen here.
        compute = engines.batch_function(model, settings.inference_engine, examples, cpu_threads=settings.cpu_threads)
        if workers.run_on == "ray":
            mapper = stack.enter_context(ray_cluster.mapper(workers.ray_address))
            network, tensors = str(folder / BACKBONE), str(args.tensors)
            work = functools.partial(compute_features, network=network, tensors=tensors, settings=settings)
            compute_all = functools.partial(mapper, work)
        else:
            compute_all = functools.partial(map, lambda rows: both_views(rows, cache, compute))
        # The network itself says which weights it has, whatever the file or the download that they are from.
        key = resume_folder.work_key(settings.model_dump_json(), [folder / BACKBONE, args.tensors / "meta.json"])
        kept = resume_folder.open_folder(args.resume_features, key)
        seen = in_parts(kept, batches, length, compute_all)
        writer = stack.enter_context(FeatureWriter(folder, len(cache), length))
        progress = stack.enter_context(tqdm(total=len(cache), desc="features", unit=" images", mininterval=1, delay=2))
        for vectors in seen:
            writer.append(vectors)
            progress.update(len(vectors))
        write_meta(folder, params.model.backbone, num_rows=len(cache), length=length)
    if kept:
        resume_folder.remove(kept)
    names = " + ".join(params.model.backbone)
    print(f"{length:,} features of {len(cache):,} images and their mirror images by {printable(names)}.")


if __name__ == "__main__":
    script.run(main)
