"""What the export connects to: Pleo on one side, the accounting system (ERP) on the other."""

import sys

from blocks.tls import end_unless_verifying

if sys.argv[:1] == ["-m"]:  # a command of ours is about to be found and run
    end_unless_verifying()
