"""A block that a deployment or a command names: there, and of the type that is asked for, or one line that says not."""

from __future__ import annotations

import pytest

from blocks.collection import LedgerSettings, PleoCredentials, load_erp_settings, load_pleo_block
from blocks.pleo.errors import PleoConfigurationError

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.mark.parametrize("name", ["ledger", "ledger/", "/books", " / "])
async def test_a_type_without_a_name_is_told_as_that(name: str) -> None:
    with pytest.raises(PleoConfigurationError) as caught:
        await load_erp_settings(name)
    assert str(caught.value) == f"{name.strip()!r} names no block: give its type and its name, such as ledger/books"


async def test_a_block_of_another_type_is_told_as_that() -> None:
    await PleoCredentials(api_key="x" * 20).save("of-another-type", overwrite=True)  # type: ignore[arg-type]
    await LedgerSettings().save("of-another-type", overwrite=True)
    with pytest.raises(PleoConfigurationError, match="holds no settings of an accounting system"):
        await load_erp_settings("pleo-credentials/of-another-type")
    with pytest.raises(PleoConfigurationError, match="holds no Pleo credentials"):
        await load_pleo_block("ledger/of-another-type")
    assert isinstance(await load_erp_settings("ledger/of-another-type"), LedgerSettings)
