"""``python -m evae_core`` was the command until version 0.2; it is ``evae`` now. This line goes in version 0.3."""

import sys

if __name__ == "__main__":
    sys.exit("python -m evae_core is now the command evae; run evae --help, or .venv/bin/evae --help after make .venv")
