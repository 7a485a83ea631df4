"""Blocks on a real Prefect server: saved, loaded by name, found without an import, and never telling a secret."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentCreate
from pydantic import SecretStr

from blocks.collection import LedgerSettings, PleoCredentials, PleoOAuth
from blocks.erp.block import ErpBlock
from blocks.erp.settings import ClosedPeriod
from blocks.pleo.credentials import PleoCredentialsBlock
from tests.support.processes import PrefectServer

KEY = "pleo-key-that-nobody-may-see"
LOAD = """
import json, sys
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentCreate
assert "blocks" not in sys.modules
block = Block.load(sys.argv[1])
print(json.dumps([type(block).__module__, block.path]))
"""


@pytest.fixture
def name() -> str:
    return f"block-{uuid4().hex[:12]}"


async def test_credentials_come_back_from_the_server_as_they_were_saved(prefect_api: PrefectServer, name: str) -> None:
    saved = PleoCredentials(base_url="https://external.staging.pleo.io/", api_key=SecretStr(KEY))
    await saved.save(name)
    loaded = await PleoCredentials.aload(name)
    assert loaded.base_url == "https://external.staging.pleo.io"
    assert loaded.api_key is not None
    assert loaded.api_key.get_secret_value() == KEY
    assert loaded.access_token is None


async def test_a_ledgers_settings_come_back_from_the_server_as_they_were_saved(
    prefect_api: PrefectServer, name: str
) -> None:
    saved = LedgerSettings(
        path="books of 2026.sqlite",
        fava_url="http://127.0.0.1:5001/",
        page_size=50,
        wallet_accounts={"DKK": "5820"},
        closed_period=ClosedPeriod.NEXT_OPEN,
        payable_account="2900",
    )
    await saved.save(name)
    loaded = await LedgerSettings.aload(name)
    fields = set(LedgerSettings.model_fields)
    assert loaded.model_dump(include=fields) == saved.model_dump(include=fields)
    assert (loaded.fava_url, loaded.page_size, loaded.update_batch_size) == ("http://127.0.0.1:5001", 50, 100)


AS_SAVED_BEFORE: list[tuple[type[PleoCredentialsBlock], dict[str, str]]] = [
    (PleoCredentials, {"base_url": "https://external.pleo.io", "api_key": KEY}),
    (PleoCredentials, {"base_url": "https://pleo.example", "access_token": KEY}),
    (
        PleoOAuth,
        {
            "base_url": "https://pleo.example",
            "auth_url": "https://auth.pleo.example",
            "client_id": "acme",
            "client_secret": KEY,
            "client_auth": "header",
            "scopes": "export-jobs:read",
            "access_token": "access",
            "refresh_token": "refresh",
            "kind": "pleo-oauth",
        },
    ),
]


@pytest.mark.parametrize(("block", "fields"), AS_SAVED_BEFORE)
async def test_blocks_that_users_have_saved_keep_loading_and_open_pleo(
    prefect_api: PrefectServer, name: str, block: type[PleoCredentialsBlock], fields: dict[str, str]
) -> None:
    """The fields as they lie in users' databases, whatever base the classes have now."""
    slug = {PleoCredentials: "pleo-credentials", PleoOAuth: "pleo-oauth"}[block]
    async with get_client() as server:
        type_ = await server.read_block_type_by_slug(slug)
        schema = await server.get_most_recent_block_schema_for_block_type(type_.id)
        assert schema is not None
        await server.create_block_document(
            BlockDocumentCreate(name=name, data=fields, block_type_id=type_.id, block_schema_id=schema.id)
        )
    loaded = await block.aload(name)
    values = {field: getattr(loaded, field) for field in fields}
    shown = {field: one.get_secret_value() if isinstance(one, SecretStr) else one for field, one in values.items()}
    assert shown == fields
    assert loaded.get_client(page_size=7).base_url == fields["base_url"]


async def test_a_key_that_is_replaced_by_a_token_is_gone(prefect_api: PrefectServer, name: str) -> None:
    await PleoCredentials(api_key=SecretStr(KEY)).save(name)
    await PleoCredentials(access_token=SecretStr("token")).save(name, overwrite=True)
    loaded = await PleoCredentials.aload(name)
    assert loaded.api_key is None
    assert loaded.access_token == SecretStr("token")


@pytest.mark.parametrize(
    ("slug", "block"),
    [
        ("pleo-credentials", PleoCredentials(api_key=SecretStr(KEY))),
        ("ledger", LedgerSettings(path="of-its-own-type.sqlite")),
    ],
)
async def test_the_text_type_slash_name_loads_a_block_of_that_type(
    prefect_api: PrefectServer, name: str, slug: str, block: Block
) -> None:
    await block.save(name)
    loaded = await Block.aload(f"{slug}/{name}")
    assert type(loaded) is type(block)
    assert isinstance(loaded, ErpBlock) is (slug == "ledger")


async def test_two_types_may_use_the_same_name(prefect_api: PrefectServer, name: str) -> None:
    await PleoCredentials(api_key=SecretStr(KEY)).save(name)
    await LedgerSettings().save(name)
    assert type(await Block.aload(f"ledger/{name}")) is LedgerSettings
    assert type(await Block.aload(f"pleo-credentials/{name}")) is PleoCredentials


async def test_the_server_tells_no_secret_unless_it_is_asked_to(prefect_api: PrefectServer, name: str) -> None:
    await PleoCredentials(api_key=SecretStr(KEY), base_url="https://pleo.example").save(name)
    address = f"{prefect_api.api_url}/block_types/slug/pleo-credentials/block_documents/name/{name}"
    listed = f"{prefect_api.api_url}/block_documents/filter"
    async with httpx.AsyncClient(trust_env=False) as client:
        plain = (await client.get(address)).raise_for_status()
        every = (await client.post(listed, json={})).raise_for_status()
        asked = (await client.get(address, params={"include_secrets": True})).raise_for_status()
    assert KEY not in plain.text
    assert plain.json()["data"]["base_url"] == "https://pleo.example"
    assert plain.json()["data"]["api_key"] == "********"
    assert KEY not in every.text
    assert KEY in asked.text


async def test_the_database_of_the_server_holds_no_secret_in_plain_text(prefect_api: PrefectServer, name: str) -> None:
    await PleoCredentials(api_key=SecretStr(KEY), base_url="https://at-rest.example").save(name)
    stored = _bytes_of_the_database(Path(prefect_api.environment["PREFECT_HOME"]))
    assert name.encode() in stored
    assert KEY.encode() not in stored


def _bytes_of_the_database(home: Path) -> bytes:
    return b"".join(file.read_bytes() for file in home.glob("prefect.db*"))


def test_blocks_are_known_to_the_server_without_anybody_registering_them(prefect_server: PrefectServer) -> None:
    for slug, name in (
        ("pleo-credentials", "Pleo Credentials"),
        ("pleo-oauth", "Pleo OAuth"),
        ("ledger", "Pleo Export Ledger"),
    ):
        answer = httpx.get(f"{prefect_server.api_url}/block_types/slug/{slug}", trust_env=False)
        assert answer.raise_for_status().json()["name"] == name


@pytest.mark.parametrize("slug", ["erp-settings", "pleocredentialsblock"])
def test_what_several_blocks_share_is_not_offered_as_a_block(prefect_server: PrefectServer, slug: str) -> None:
    answer = httpx.get(f"{prefect_server.api_url}/block_types/slug/{slug}", trust_env=False)
    assert answer.status_code == 404


def test_a_program_that_imports_nothing_of_ours_loads_our_blocks_by_name(prefect_api: PrefectServer, name: str) -> None:
    LedgerSettings(path="found.sqlite").save(name)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, f"ledger/{name}"],
        env=prefect_api.environment,
        cwd="/",
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == ["blocks.erp.ledger.block", "found.sqlite"]
