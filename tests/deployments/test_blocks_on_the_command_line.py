"""A block that somebody saved with values that cannot be: one line that names the field, and nothing is touched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.choice import slow
from tests.support.processes import PrefectServer

KEY = "key-that-nobody may-see"
WRONG_USAGE = 2


def save_as_the_form_does(server: PrefectServer, slug: str, data: dict[str, Any]) -> str:
    """Save a block without its class, which would refuse the values; the form of the UI does so."""
    name = f"block-{uuid4().hex[:12]}"
    with httpx.Client(base_url=server.api_url, trust_env=False) as client:
        kind = client.get(f"/block_types/slug/{slug}").raise_for_status().json()["id"]
        of_kind = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
        schema = client.post("/block_schemas/filter", json=of_kind).raise_for_status().json()[0]["id"]
        document = {"name": name, "data": data, "block_type_id": kind, "block_schema_id": schema}
        client.post("/block_documents/", json=document).raise_for_status()
    return f"{slug}/{name}"


@pytest.mark.parametrize(
    ("slug", "data", "complaint"),
    [
        ("pleo-credentials", {"api_key": KEY}, "api_key: Value error, it holds characters that no key or token has"),
        *slow(
            ("pleo-credentials", {"base_url": "https://pleo.example"}, "give either an API key or an access token"),
            ("ledger", {"page_size": 1000}, "page_size: Input should be less than or equal to 100"),
        ),
    ],
)
def test_a_block_with_a_wrong_value_ends_the_run_with_a_line_that_names_the_field(
    prefect_server: PrefectServer, tmp_path: Path, slug: str, data: dict[str, Any], complaint: str
) -> None:
    block = save_as_the_form_does(prefect_server, slug, data)
    option = ["--pleo", block] if slug == "pleo-credentials" else ["--erp", block]
    done = subprocess.run(
        [sys.executable, "-m", "flows.export", *option],
        env={**prefect_server.environment, "PLEO_API_KEY": "unused", "PLEO_BASE_URL": "http://127.0.0.1:1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == WRONG_USAGE, done.stderr
    said = " ".join(done.stderr.split())
    assert f"block {block} cannot be used" in said
    assert complaint in said
    assert "Traceback" not in said
    assert KEY not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())
