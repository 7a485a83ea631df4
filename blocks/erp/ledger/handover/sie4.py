"""A SIE 4I file, by which vouchers come into Swedish accounting programs (sie.se, format 4B and 4C).

Every line goes over as it stands: the format has no tax codes. Code page 437 is the only character set that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date

from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.handover.encoding import Encoder
from blocks.erp.ledger.handover.members import Member, MemberLine
from blocks.erp.ledger.handover.settings import HandoverFormat, HandoverSettings

ENCODING = "cp437"
_MAX_TEXT = 100
_NAMES = {1: "Kostnadsställe", 6: "Projekt", 7: "Anställd"}


@dataclass(slots=True)
class Declared:
    """The accounts and objects that the vouchers of a file name: they are declared before the first of them."""

    accounts: dict[str, str] = field(default_factory=dict)
    objects: set[tuple[int, str, str]] = field(default_factory=set)


class Sie4Writer:
    """Writes one file: `declare` every entry first, then the `head`, then each `entry` in the same order.

    `currency` is that of the books.
    """

    def __init__(self, settings: HandoverSettings, currency: str, encoder: Encoder) -> None:
        self._settings = settings
        self._currency = currency
        self._encoder = encoder
        self._declared = Declared()
        self.rows = 0

    def declare(self, entries: Iterable[Member]) -> None:
        """Note what these entries name. Raises ErpConfigurationError for what SIE cannot take."""
        for member in entries:
            for line in member.lines:
                if not self._settings.takes_account(HandoverFormat.SIE4, line.account):
                    raise ErpConfigurationError(
                        f"{member.external_id}: SIE cannot take account {self._encoder.text(line.account, 60)}: "
                        "digits only, 3 to 8 of them"
                    )
                self._amount(member, line)
                self._declared.accounts.setdefault(line.account, line.account_name)
                self._declared.objects.update(
                    (number, group, code) for number, group, code in self._objects(member, line)
                )

    def head(self, company_id: str, last: date, fiscal_year: tuple[date, date]) -> bytes:
        """The lines before the first voucher. `#GEN` has the last day of the vouchers: no clock changes the bytes."""
        chosen = self._settings.sie4
        lines = [
            "#FLAGGA 0",
            '#PROGRAM "Pleo export" 1',
            "#FORMAT PC8",
            f"#GEN {last:%Y%m%d}",
            "#SIETYP 4",
            f"#FNAMN {self._text(chosen.company_name or f'Pleo {company_id}')}",
        ]
        if chosen.organisation_number:
            digits = chosen.organisation_number.replace("-", "")
            lines.append(f"#ORGNR {digits[:6]}-{digits[6:]}")
        lines += [
            f"#RAR 0 {fiscal_year[0]:%Y%m%d} {fiscal_year[1]:%Y%m%d}",
            f"#VALUTA {self._currency}",
            *(f"#KONTO {code} {self._text(name)}" for code, name in sorted(self._declared.accounts.items())),
        ]
        groups = {number: group for number, group, _ in self._declared.objects}
        lines += [f"#DIM {number} {self._text(_NAMES.get(number, groups[number]))}" for number in sorted(groups)]
        lines += [
            f"#OBJEKT {number} {self._text(code)} {self._text(code)}"
            for number, _, code in sorted(self._declared.objects)
        ]
        return self._bytes(lines)

    def entry(self, member: Member, number: int) -> bytes:
        """One voucher of that number. Pleo's short id comes first in its text, as importers cut texts."""
        text = f"{member.accounting_entry_id[:8]} {member.description}"
        if member.reverses is not None:
            text = f"{member.accounting_entry_id[:8]} Rättelse: {member.description}"
        lines = [
            f'#VER "{self._settings.sie4.voucher_series}" {number} {member.posting_date:%Y%m%d} {self._text(text)}',
            "{",
        ]
        for line in member.lines:
            objects = " ".join(f"{of} {self._text(code)}" for of, _, code in self._objects(member, line))
            lines.append(f"   #TRANS {line.account} {{{objects}}} {_decimal(self._amount(member, line))}")
            self.rows += 1
        return self._bytes([*lines, "}"])

    def _amount(self, member: Member, line: MemberLine) -> int:
        amount = member.minor(line, self._currency)
        if amount is None:
            raise ErpConfigurationError(
                f"{member.external_id} is in {member.currency}, and SIE takes {self._currency} only: "
                "set company_currency, so that the books keep both"
            )
        return amount

    def _objects(self, member: Member, line: MemberLine) -> Iterator[tuple[int, str, str]]:
        for group, code in line.dimensions:
            number = self._settings.sie4.dimensions.get(group)
            if number is None:
                raise ErpConfigurationError(
                    f"{member.external_id}: dimension {self._encoder.text(group, 60)} has no number in SIE: set it in "
                    "sie4.dimensions, or 0 to leave it out"
                )
            if number:
                yield number, group, code

    def _text(self, text: str) -> str:
        return '"' + self._encoder.text(text, _MAX_TEXT).replace("\\", "/").replace('"', '\\"') + '"'

    def _bytes(self, lines: Iterable[str]) -> bytes:
        return "".join(f"{line}\r\n" for line in lines).encode(ENCODING)


def _decimal(minor: int) -> str:
    return f"{'-' if minor < 0 else ''}{abs(minor) // 100}.{abs(minor) % 100:02d}"
