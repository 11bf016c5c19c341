"""Where the rules are that come with detectord."""

from __future__ import annotations

from pathlib import Path

import detectord


def shipped_rules() -> Path:
    """The folder of the shipped rules: inside the package where it is installed from a wheel, beside
    it in a checkout.

    Raises:
        FileNotFoundError: they are in neither place.
    """
    package = Path(detectord.__file__).resolve().parent
    for folder in (package / "shipped_rules", package.parent / "rules"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the shipped rules are neither in {package} nor beside it")
