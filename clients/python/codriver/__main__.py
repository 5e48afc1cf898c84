"""``python -m codriver``: the command, for callers that know their interpreter and not its scripts."""

import sys

from codriver.cli import main

if __name__ == "__main__":
    sys.exit(main())
