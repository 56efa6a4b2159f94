"""`ddpmcodec fid`."""

import sys
from pathlib import Path

import click
from tqdm import tqdm

from ddpmcodec.cli import options


@click.command("fid", short_help="Measure Fréchet Inception distance, Inception score.")
@click.argument("samples", type=options.FILE)
@click.argument("reference", required=False, type=options.FILE)
@click.option(
    "--features",
    required=True,
    type=options.FILE,
    metavar="FILE",
    help="Use this feature network, TorchScript: inception-2015-12-05.pt for figures to compare.",
)
@click.option("--inception-score", is_flag=True, help="Also print it, from the network's class scores.")
@options.threads
@options.quiet
def command(samples, reference, features, inception_score, threads, quiet):
    """Measure the Fréchet Inception distance of SAMPLES to REFERENCE: directories of pictures, .npz of `ddpmcodec sample`, or CIFAR10.

    The feature network is not fetched: NVIDIA publishes inception-2015-12-05.pt with StyleGAN. It is code; take it from a place you trust.

    \b
    ddpmcodec fid samples.npz cifar-10-batches-py/ --features inception-2015-12-05.pt --inception-score
    """
    if reference is None and not inception_score:
        raise click.UsageError("give REFERENCE, or --inception-score")
    options.use_threads(threads)

    from ddpmcodec.eval import fid
    from ddpmcodec.eval import pictures as sets

    def load(path: str):
        def note(where: Path, error: Exception) -> None:
            if not quiet:
                tqdm.write(f"{where}: left out: {error}", file=sys.stderr)

        return (pixels for _, pixels in sets.load_any([path], note))

    network = fid.load_features(Path(features))
    if reference is not None:
        with tqdm(desc="fid", unit="picture", disable=quiet or sys.stderr is None or None, leave=False) as bar:
            distance = fid.frechet_distance(network, load(samples), load(reference), lambda done: bar.update(done) and None)
        click.echo(f"FID {distance:.3f}")
    if inception_score:
        mean, deviation = fid.inception_score(network, load(samples))
        click.echo(f"Inception score {mean:.3f} ± {deviation:.3f}")
