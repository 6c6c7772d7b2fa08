"""Block Kit as far as it is used here, and its limits. Pure.

Text of strangers goes into `rich_text` elements: those are data, Slack reads no markup in them, so nothing can mention,
link or format, and no code block can be left from inside. Only the short text of notifications is mrkdwn, and escaped.
Reference: Block Kit (header, rich_text, actions, input, button, plain text objects), chat.postMessage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from control_plane.kit.clock import milliseconds
from control_plane.kit.display import fitted

Block = Mapping[str, Any]
Element = Mapping[str, Any]

MOST_BLOCKS: Final = 50
MOST_OF_A_TEXT: Final = 3000
MOST_OF_A_HEADER: Final = 150
MOST_OF_A_BUTTON: Final = 75
MOST_OF_A_VALUE: Final = 2000
MOST_OF_METADATA: Final = 3000
# Slack refuses what is longer altogether (msg_blocks_too_long, somewhere above 13,000, containers counted).
MOST_OF_ALL: Final = 12_000


# ------------------------------------------------------------------ elements of rich text


def plain(text: str) -> Element:
    return {"type": "text", "text": text}


def bold(text: str) -> Element:
    return {"type": "text", "text": text, "style": {"bold": True}}


def link(url: str, text: str) -> Element:
    return {"type": "link", "url": url, "text": text}


def instant(at: datetime) -> Element:
    """In the time zone of whoever reads."""
    fallback = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return {
        "type": "date",
        "timestamp": milliseconds(at) // 1000,
        "format": "{date_short_pretty} {time_secs}",
        "fallback": fallback,
    }


# ------------------------------------------------------------------ blocks


def header(text: str) -> Block:
    """Cut when it is too long: a title says nothing that is not below it."""
    return {"type": "header", "text": {**_plain_text(fitted(text, MOST_OF_A_HEADER).text), "emoji": False}}


def lines(*all_lines: Sequence[Element]) -> Block:
    """One under the other."""
    joined: list[Element] = []
    for index, line in enumerate(line for line in all_lines if line):
        joined += [plain("\n")] * (index > 0)
        joined += line
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": joined}]}


def labelled(label: str, *value: Element) -> Sequence[Element]:
    return [bold(f"{label}: "), *value]


def code(label: str, text: str) -> Block:
    """The text as it is, in a box of its own. Empty text is a blank: Slack takes no empty element."""
    box = {"type": "rich_text_preformatted", "elements": [plain(text or " ")]}
    title = {"type": "rich_text_section", "elements": [bold(label)]}
    return {"type": "rich_text", "elements": [title, box]}


def buttons(*elements: Element) -> Block:
    return {"type": "actions", "elements": list(elements)}


def button(text: str, action: str, value: str, style: str) -> Element:
    return {"type": "button", "text": _plain_text(text), "action_id": action, "value": value, "style": style}


def question(block_id: str, label: str, most: int) -> Block:
    """An input of several lines; its `action_id` is that of the block."""
    field = {"type": "plain_text_input", "action_id": block_id, "multiline": True, "max_length": most}
    return {"type": "input", "block_id": block_id, "label": _plain_text(label), "element": field}


def modal(title: str, submit: str, callback: str, metadata: str, blocks: Sequence[Block]) -> Block:
    return {
        "type": "modal",
        "callback_id": callback,
        "private_metadata": metadata,
        "title": _plain_text(title),
        "submit": _plain_text(submit),
        "close": _plain_text("Cancel"),
        "blocks": list(blocks),
    }


def _plain_text(text: str) -> Element:
    return {"type": "plain_text", "text": text, "emoji": False}


# ------------------------------------------------------------------ text and size


def escaped(text: str) -> str:
    """For mrkdwn, of text that is visible already: no mention, no link and no code can begin."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")


def one_line(text: str) -> str:
    """Of visible text, where a new line would look like a line of ours."""
    return text.replace("\n", "⟨U+000A⟩").replace("\t", "⟨U+0009⟩")


def size(blocks: Sequence[Block]) -> int:
    return len(msgspec.json.encode(blocks))


def most_characters(text: str, limit: int) -> int:
    """How many characters of it fit: those beyond the 16-bit plane count twice."""
    cut = text[:limit]
    return limit if len(cut.encode("utf-16-le")) <= 2 * limit else limit // 2
