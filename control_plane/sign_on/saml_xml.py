"""XML that comes from outside, read so that nothing in it can act, and the bytes that an XML signature covers.

Not a validator of schemas or signatures. Refuses everything but UTF-8, and DTDs, entities, comments and processing
instructions wherever they stand: no SAML message needs one, and each has been used to make two readers of one document
see different things. XML Signature Syntax and Processing 1.1; Exclusive XML Canonicalization 1.0.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

from lxml import etree  # type: ignore[import-untyped]

Element = Any  # of lxml, which has no types

SAML: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
MD: Final = "urn:oasis:names:tc:SAML:2.0:metadata"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"
XENC: Final = "http://www.w3.org/2001/04/xmlenc#"
XENC11: Final = "http://www.w3.org/2009/xmlenc11#"
EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
NAMES: Final = {"saml": SAML, "samlp": SAMLP, "md": MD, "ds": DS, "xenc": XENC, "ec": EXCLUSIVE}

_DECLARATIONS: Final = ("<!doctype", "<!entity", "<!element", "<!attlist", "<!notation")
_IDS: Final = frozenset({"ID", "Id", "id", "{http://www.w3.org/XML/1998/namespace}id", "AssertionID", "ResponseID"})


class XmlRefusedError(Exception):
    """`args[0]` says what is wrong with the document."""


def parse(content: bytes, largest: int) -> Element:
    """The root. Raises XmlRefusedError."""
    if len(content) > largest:
        raise XmlRefusedError(f"it has {len(content)} bytes, more than {largest}")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise XmlRefusedError("it is not UTF-8") from error
    if any(one in text.lower() for one in _DECLARATIONS):
        raise XmlRefusedError("it holds a DTD or declares an entity")
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, recover=False
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise XmlRefusedError(f"it is not well-formed: {error}") from error
    _only_elements(root)
    return root


def _only_elements(root: Element) -> None:
    info = root.getroottree().docinfo
    if info.doctype or info.internalDTD is not None or info.externalDTD is not None:
        raise XmlRefusedError("it holds a DTD")
    beside = (*root.itersiblings(preceding=True), *root.itersiblings())
    if beside or any(not isinstance(one.tag, str) for one in root.iter()):
        raise XmlRefusedError("it holds a comment, an entity or a processing instruction")


def ids_once(root: Element) -> None:
    """Raises XmlRefusedError: two elements share an id, so what a reference means depends on who follows it."""
    seen: set[str] = set()
    for one in root.iter():
        for name in _IDS & set(one.attrib):
            if one.attrib[name] in seen:
                raise XmlRefusedError(f"two elements have the id {one.attrib[name]!r}")
            seen.add(one.attrib[name])


def covered(signed: Element, prefixes: Sequence[str]) -> bytes:
    """What a signature over this element covers: its exclusive canonical form without the signature that it holds."""
    root = signed.getroottree().getroot()
    own = list(copy.deepcopy(root).iter())[list(root.iter()).index(signed)]
    for signature in own.findall(f"{{{DS}}}Signature"):
        _take_out(signature)
    return bytes(
        etree.tostring(own, method="c14n", exclusive=True, with_comments=False, inclusive_ns_prefixes=list(prefixes))
    )


def _take_out(element: Element) -> None:
    """The text behind it stays, as the signature's own transform leaves it."""
    parent, before, tail = element.getparent(), element.getprevious(), element.tail or ""
    element.tail = None
    parent.remove(element)
    if before is None:
        parent.text = (parent.text or "") + tail
    else:
        before.tail = (before.tail or "") + tail


def name(namespace: str, local: str) -> str:
    return f"{{{namespace}}}{local}"


def text_of(element: Element) -> str:
    """Of an element that holds text only. Raises XmlRefusedError."""
    if len(element):
        raise XmlRefusedError(f"{etree.QName(element).localname} holds more than text")
    return str(element.text or "").strip()
