"""Every block of the project passes Prefect's own suite; its logo test is left out, as it fetches from the web."""

from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from prefect.utilities.dispatch import get_registry_for_type

from blocks import collection
from blocks.erp.ledger.block import LedgerSettings
from blocks.erp.settings import ErpSettings
from blocks.pleo.credentials import PleoCredentials

SUBSCRIBED = [ErpSettings, LedgerSettings, PleoCredentials]


@pytest.mark.parametrize("block", SUBSCRIBED)
class TestEveryBlock(BlockStandardTestSuite):
    test_has_a_valid_image = None

    @pytest.fixture
    def block(self) -> Any:
        """Overridden by the parameter."""


def test_no_block_of_the_project_is_left_out() -> None:
    registry = (get_registry_for_type(Block) or {}).values()
    assert {block for block in registry if block.__module__.startswith("blocks.")} == set(SUBSCRIBED)


def test_the_collection_lists_every_block_that_can_be_made() -> None:
    assert {getattr(collection, name) for name in collection.__all__} == set(SUBSCRIBED) - {ErpSettings}


@pytest.mark.parametrize("block", SUBSCRIBED)
def test_every_field_has_a_title_that_reads_as_words(block: type[Block]) -> None:
    for name, schema in block.model_json_schema()["properties"].items():
        assert schema.get("title"), name
        assert "_" not in schema["title"], name
