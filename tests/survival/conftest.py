"""Proofs that cross rooms: what is killed, repeated, contended or fed with rubbish still keeps the four promises."""

from __future__ import annotations

import sys

from processes import ROOT

sys.path.append(str(ROOT / "tests" / "flows"))  # where a whole export without Prefect is (`exporting`)
sys.path.append(str(ROOT / "tests" / "deployments"))  # where questions to the Prefect server are (`installing`)
