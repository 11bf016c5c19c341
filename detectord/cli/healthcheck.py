"""`detectord healthcheck`: ask a running daemon whether it is well, as a container's health check."""

from __future__ import annotations

import os
import urllib.error
import urllib.request

import click

from detectord.cli.exits import ExitCode, Failure
from detectord.cli.options import configuration
from detectord.cli.output import say
from detectord.runtime.http import local_url


@click.command()
@click.option("--url", help="Default: /healthz where the configuration listens, else http://127.0.0.1:9464.")
@click.option("--config", "config_path", metavar="FILE", help="The daemon's. Default: $DETECTORD_CONFIG.")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=3.0, show_default=True, help="Seconds.")
def command(url: str | None, config_path: str | None, timeout: float) -> None:
    """Exit 0 if the endpoint answers 200, 1 if not."""
    url = url or _configured_url(config_path)
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("only http and https", param_hint="--url")
    # No proxy: the daemon is on this machine, whatever the environment says about the way out.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as answer:
            say(answer.read(10_000).decode("utf-8", "replace").strip())
    except urllib.error.HTTPError as error:
        with error:
            body = error.read(10_000).decode("utf-8", "replace").strip()
        raise Failure(f"{url} answered {error.code}: {body}", ExitCode.FAILED) from None
    except (OSError, ValueError) as error:
        raise Failure(f"{url} does not answer: {error}", ExitCode.FAILED) from None


def _configured_url(config_path: str | None) -> str:
    """/healthz of the daemon that the configuration describes, as this machine reaches it."""
    if config_path is None and "DETECTORD_CONFIG" not in os.environ:
        return "http://127.0.0.1:9464/healthz"
    return local_url(*configuration(config_path, {}).http.address) + "/healthz"
