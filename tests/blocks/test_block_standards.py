"""Every block of the project passes Prefect's own suite; its logo test is left out, as it fetches from the web."""

from typing import Any

import pytest
from prefect.blocks.abstract import CredentialsBlock
from prefect.blocks.core import Block, InvalidBlockRegistration
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from prefect.utilities.dispatch import get_registry_for_type

from blocks import collection
from blocks.erp.block import ErpBlock
from blocks.erp.ledger.block import LedgerSettings
from blocks.erp.odoo.block import OdooSettings
from blocks.erp.tryton.block import TrytonSettings
from blocks.pleo.credentials import PleoCredentials, PleoCredentialsBlock
from blocks.pleo.oauth.block import PleoOAuth

SUBSCRIBED = [LedgerSettings, OdooSettings, TrytonSettings, PleoCredentials, PleoOAuth]


@pytest.mark.parametrize("block", SUBSCRIBED)
class TestEveryBlock(BlockStandardTestSuite):
    test_has_a_valid_image = None

    @pytest.fixture
    def block(self) -> Any:
        """Overridden by the parameter."""


def test_no_block_of_the_project_is_left_out() -> None:
    registry = (get_registry_for_type(Block) or {}).values()
    assert {block for block in registry if block.__module__.startswith("blocks.")} == set(SUBSCRIBED)


def test_the_collection_lists_every_block() -> None:
    assert {getattr(collection, name) for name in collection.__all__} == set(SUBSCRIBED)


@pytest.mark.parametrize(
    ("base", "blocks"),
    [(ErpBlock, (LedgerSettings, OdooSettings, TrytonSettings)), (PleoCredentialsBlock, (PleoCredentials, PleoOAuth))],
)
def test_what_several_blocks_share_is_no_block_that_somebody_could_choose(
    base: type[Block], blocks: tuple[type[Block], ...]
) -> None:
    assert all(issubclass(block, base) for block in blocks)
    with pytest.raises(InvalidBlockRegistration):
        base.register_type_and_schema(_sync=True)


def test_pleos_blocks_hand_out_a_client_in_prefects_usual_way() -> None:
    assert issubclass(PleoCredentialsBlock, CredentialsBlock)
    with pytest.raises(TypeError, match="abstract"):
        PleoCredentialsBlock()


@pytest.mark.parametrize("block", SUBSCRIBED)
def test_every_field_has_a_title_that_reads_as_words(block: type[Block]) -> None:
    for name, schema in block.model_json_schema()["properties"].items():
        assert schema.get("title"), name
        assert "_" not in schema["title"], name


def test_the_form_begins_with_what_is_set_first_and_ends_with_what_hardly_anybody_sets() -> None:
    names = list(LedgerSettings.model_fields)
    assert names[:2] == ["path", "accounts_file"]
    assert names.index("posting") < names.index("payable_account") < names.index("general_journal")
    assert names[-5:] == ["page_size", "update_batch_size", "max_receipt_kilobytes", "fava_url", "kind"]


@pytest.mark.parametrize("name", sorted(LedgerSettings.model_fields))
def test_the_form_shows_each_setting_as_one_plain_field_with_its_title_and_description(name: str) -> None:
    schema = LedgerSettings.model_json_schema()["properties"][name]
    assert "anyOf" not in schema, "shown as a choice of types"
    assert "$ref" not in schema, "shown under another title"
    assert schema["type"] in {"string", "integer", "object"}
    assert len(schema["description"]) > 30
