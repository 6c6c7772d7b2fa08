"""Check digits: numbers that are published as examples, and each with one digit changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from data_plane.masking import checksums

GOOD: list[tuple[Callable[[str], bool], str]] = [
    (checksums.card, "4111111111111111"),
    (checksums.card, "378282246310005"),
    (checksums.card, "5555555555554444"),
    (checksums.card, "6011111111111117"),
    (checksums.iban, "DE89370400440532013000"),
    (checksums.iban, "GB82WEST12345698765432"),
    (checksums.iban, "FR1420041010050500013M02606"),
    (checksums.iban, "NO9386011117947"),
    (checksums.german_tax_id, "86095742719"),
    (checksums.german_tax_id, "65929970489"),
    (checksums.french_nir, "255081416802538"),
    (checksums.spanish_nif, "12345678Z"),
    (checksums.spanish_nif, "X1234567L"),
    (checksums.dutch_bsn, "111222333"),
    (checksums.polish_pesel, "44051401359"),
    (checksums.italian_codice, "RSSMRA85T10A562S"),
    (checksums.swedish_personnummer, "8112189876"),
]


@pytest.mark.parametrize(("check", "number"), GOOD)
def test_a_number_is_accepted_and_with_its_last_character_changed_refused(
    check: Callable[[str], bool], number: str
) -> None:
    assert check(number)
    others = {number[:-1] + other for other in ("0123456789" if number[-1].isdigit() else "ABCDEFGHIJKLM")} - {number}
    accepted = [other for other in others if check(other)]
    assert len(accepted) <= (1 if check is checksums.french_nir else 0)


@pytest.mark.parametrize(
    ("check", "number"),
    [
        (checksums.card, "0000000000000000"),
        (checksums.card, "4111"),
        (checksums.iban, "XX89370400440532013000"),
        (checksums.us_ssn, "000121234"),
        (checksums.us_ssn, "666121234"),
        (checksums.us_ssn, "900121234"),
        (checksums.us_ssn, "123001234"),
        (checksums.us_ssn, "123120000"),
        (checksums.uk_nino, "BG123456A"),
        (checksums.dutch_bsn, "000000000"),
        (checksums.german_tax_id, "01234567890"),
        (checksums.german_tax_id, "12345678901"),
        (checksums.french_nir, "1234"),
        (checksums.italian_codice, "SHORT"),
    ],
)
def test_what_cannot_be_is_refused(check: Callable[[str], bool], number: str) -> None:
    assert not check(number)
