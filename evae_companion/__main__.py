"""``python -m evae_companion`` is the command ``evae``: see :mod:`evae_companion.cli`."""

import sys

from evae_companion.cli import main

if __name__ == "__main__":
    sys.exit(main())
