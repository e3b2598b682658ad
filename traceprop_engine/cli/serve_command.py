"""`traceprop serve`: the pages of a store, for the browser on this machine."""

from pathlib import Path

import click

from traceprop_engine.cli.options import open_store, store_option
from traceprop_engine.serving import HOST, bind


@click.command(short_help="Pages of a store, for this machine only.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=4004,
    show_default=True,
    help="Where to listen; 0 takes a free port.",
)
@store_option
def serve(directory: Path, port: int) -> None:
    """Serve read-only pages of a store to this machine, until Ctrl-C.

    Every trace, source row, training run and explanation has a page; metadata in Dagster links to
    them. Nothing is served to other machines.
    """
    store = open_store(directory)
    with bind(store, port) as server:
        address = f"http://{HOST}:{server.server_port}/"
        click.echo(f"Serving {store.directory} at {address} (Ctrl-C ends it)", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("Stopped", err=True)
