"""`ddpmcodec fid`."""

from pathlib import Path

import click

from ddpmcodec.cli import eval_options, notes, options


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
@eval_options.page
@options.threads
@options.quiet
def command(samples, reference, features, inception_score, page, threads, quiet):
    """Measure the Fréchet Inception distance of SAMPLES to REFERENCE: directories of pictures, .npz of `ddpmcodec sample`, or CIFAR10.

    Pictures that cannot be read are named and left out, and the exit code is then 3.

    The feature network is not fetched: NVIDIA publishes inception-2015-12-05.pt with StyleGAN. It is code; take it from a place you trust.

    \b
    ddpmcodec fid samples.npz cifar-10-batches-py/ --features inception-2015-12-05.pt --inception-score
    """
    if reference is None and not inception_score:
        raise click.UsageError("give REFERENCE, or --inception-score")
    options.use_threads(threads)

    from ddpmcodec.eval import fid, pictures
    from ddpmcodec.eval.progress import Counter

    left_out = notes.LeftOut(quiet)

    def load(path: str):
        return (pixels for _, pixels in pictures.load_any([path], left_out, page=page))

    network = fid.load_features(Path(features))
    if reference is not None:
        with options.progress_bar("fid", quiet) as progress:
            counter, say = Counter(progress, 0), notes.unheard if quiet else notes.note
            distance = fid.frechet_distance(network, load(samples), load(reference), counter, say)
        click.echo(f"FID {distance:.3f}")
    if inception_score:
        mean, deviation = fid.inception_score(network, load(samples))
        click.echo(f"Inception score {mean:.3f} ± {deviation:.3f}")
    left_out.check()
