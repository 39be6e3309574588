"""``python -m evae_core``: see :mod:`evae_core.cli`."""

import sys

from evae_core.cli import main

if __name__ == "__main__":
    sys.exit(main())
