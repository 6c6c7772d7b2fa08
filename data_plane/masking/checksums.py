"""Check digits: what tells a card, an account or a person's number from any other number. Pure arithmetic on text.

Each function takes the number without separators and says whether it can be one. Sources: ISO/IEC 7812 (Luhn),
ISO 13616 with ISO 7064 MOD 97-10 (IBAN), ISO 7064 MOD 11,10 (Steuer-Identifikationsnummer), and the published rules of
the national numbers named below.
"""

from __future__ import annotations

from typing import Final

IBAN_LENGTHS: Final = {
    **dict.fromkeys(["NO"], 15), **dict.fromkeys(["BE"], 16), **dict.fromkeys(["DK", "FI", "FK", "FO", "GL", "NL"], 18),
    **dict.fromkeys(["MK", "SI"], 19), **dict.fromkeys(["AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"], 20),
    **dict.fromkeys(["CH", "HR", "LI", "LV"], 21),
    **dict.fromkeys(["BG", "BH", "CR", "DE", "GB", "GE", "IE", "ME", "RS", "VA"], 22),
    **dict.fromkeys(["AE", "GI", "IL", "IQ", "OM", "SO", "TL"], 23),
    **dict.fromkeys(["AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"], 24),
    **dict.fromkeys(["LY", "PT", "ST"], 25), **dict.fromkeys(["IS", "TR"], 26),
    **dict.fromkeys(["BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"], 27),
    **dict.fromkeys(["AL", "AZ", "BY", "CY", "DO", "GT", "HU", "LB", "NI", "PL", "SV"], 28),
    **dict.fromkeys(["BR", "EG", "PS", "QA", "UA"], 29), **dict.fromkeys(["JO", "KW", "MU", "YE"], 30),
    **dict.fromkeys(["MT", "SC"], 31), **dict.fromkeys(["LC"], 32), **dict.fromkeys(["RU"], 33),
}  # fmt: skip

_NIF_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_CODICE_ODD: Final = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16,
         10, 22, 25, 24, 23],
        strict=True,
    )
)  # fmt: skip


def luhn(digits: str) -> bool:
    total = 0
    for position, character in enumerate(reversed(digits)):
        digit = int(character) << (position & 1)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


def card(digits: str) -> bool:
    """13 to 19 digits of the ranges that payment networks use, with Luhn's digit."""
    return 13 <= len(digits) <= 19 and digits[0] in "23456" and len(set(digits)) > 1 and luhn(digits)


def iban(compact: str) -> bool:
    if len(compact) != IBAN_LENGTHS.get(compact[:2]):
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def us_ssn(digits: str) -> bool:
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return len(digits) == 9 and area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def uk_nino(compact: str) -> bool:
    return compact[:2] not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")


def german_tax_id(digits: str) -> bool:
    """Eleven digits: of the first ten one occurs two or three times, the others at most once; ISO 7064 MOD 11,10."""
    if len(digits) != 11 or digits[0] == "0":
        return False
    counts = sorted(digits[:10].count(digit) for digit in set(digits[:10]))
    if counts[-1] not in (2, 3) or (len(counts) > 1 and counts[-2] > 1):
        return False
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def french_nir(compact: str) -> bool:
    """Thirteen digits (2A and 2B for Corsica) and a key of two: 97 minus the number modulo 97."""
    number = compact[:13].replace("2A", "19").replace("2B", "18")
    return (
        len(compact) == 15 and number.isdigit() and compact[0] in "12378" and 97 - int(number) % 97 == int(compact[13:])
    )


def spanish_nif(compact: str) -> bool:
    """DNI (eight digits) or NIE (X, Y, Z and seven), each with its letter."""
    number = compact[:-1].translate(str.maketrans("XYZ", "012"))
    return len(compact) == 9 and number.isdigit() and _NIF_LETTERS[int(number) % 23] == compact[-1]


def dutch_bsn(digits: str) -> bool:
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return (
        len(digits) == 9
        and len(set(digits)) > 1
        and sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11 == 0
    )


def polish_pesel(digits: str) -> bool:
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    if len(digits) != 11 or sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 10:
        return False
    return 1 <= int(digits[2:4]) % 20 <= 12 and 1 <= int(digits[4:6]) <= 31


def italian_codice(compact: str) -> bool:
    if len(compact) != 16:
        return False
    odd = sum(_CODICE_ODD[character] for character in compact[:15:2])
    even = sum(int(character) if character.isdigit() else ord(character) - 65 for character in compact[1:15:2])
    return chr(65 + (odd + even) % 26) == compact[15]


def swedish_personnummer(digits: str) -> bool:
    return len(digits) == 10 and 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) % 60 <= 31 and luhn(digits)
