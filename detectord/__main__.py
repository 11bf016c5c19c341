"""`python -m detectord`, and the `detectord` command."""

from __future__ import annotations

import sys

from detectord import cli


def main() -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(cli.main())


if __name__ == "__main__":  # workers are spawned and import this module again
    main()
