"""`python -m flows.export` with one more type of block: the small ERP, whose books many runs may write in at once.

python -m tests.survival.small_erp_export --erp small-erp/of-tests …      exports; SMALL_ERP_URL says where the ERP is
python -m tests.survival.small_erp_export save                            saves that block on the Prefect server
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from blocks.erp.base import Erp, Writers
from blocks.erp.block import ErpBlock
from flows.export import main
from tests.support.erp.small_erp.client import SmallErp


class SmallErpSettings(ErpBlock):
    """The small ERP of the tests."""

    _block_type_name: ClassVar[str] = "Small ERP of the Tests"
    _block_type_slug: ClassVar[str] = "small-erp"

    kind: Literal["small-erp"] = Field(default="small-erp", title="Kind", description="Tells it from other blocks.")

    def connect(self, _folder: Path) -> Erp:
        """The ERP at SMALL_ERP_URL."""
        return SmallErp(os.environ["SMALL_ERP_URL"], writers=Writers.ANY, remote=True, logs_in=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["save"]:
        SmallErpSettings().save("of-tests", overwrite=True)
        sys.exit(0)
    sys.exit(main())
