"""`detectord healthcheck`: ask a running daemon whether it is well, as a container's health check."""

from __future__ import annotations

import urllib.error
import urllib.request

import click

from detectord.cli.exits import ExitCode, Failure


@click.command()
@click.option("--url", default="http://127.0.0.1:9464/healthz", show_default=True)
@click.option("--timeout", type=click.FloatRange(min=0.1), default=3.0, show_default=True, help="Seconds.")
def command(url: str, timeout: float) -> None:
    """Exit 0 if the endpoint answers 200, 1 if not."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("only http and https", param_hint="--url")
    # No proxy: the daemon is on this machine, whatever the environment says about the way out.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as answer:
            click.echo(answer.read(10_000).decode("utf-8", "replace").strip())
    except urllib.error.HTTPError as error:
        with error:
            body = error.read(10_000).decode("utf-8", "replace").strip()
        raise Failure(f"{url} answered {error.code}: {body}", ExitCode.FAILED) from None
    except (OSError, ValueError) as error:
        raise Failure(f"{url} does not answer: {error}", ExitCode.FAILED) from None
