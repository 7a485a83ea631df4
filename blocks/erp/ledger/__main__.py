"""`python -m blocks.erp.ledger COMMAND --ledger FILE`: the bookkeeper's tool."""

import sys

from blocks.erp.ledger.tool import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
