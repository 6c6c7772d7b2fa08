"""What Slack refuses of blocks and modals, as its reference says; what it leaves open is taken strictly. Pure."""

from __future__ import annotations

import json
from typing import Any

MOST_BLOCKS = {"message": 50, "modal": 100}
RICH_SECTIONS = {"rich_text_section", "rich_text_preformatted", "rich_text_quote", "rich_text_list"}
LONGEST_IN_ALL = 13_000


def problems(blocks: Any, surface: str = "message") -> list[str]:
    """Empty: Slack takes them."""
    if not isinstance(blocks, list) or not blocks:
        return ["no blocks"]
    found = [f"{len(blocks)} blocks"] if len(blocks) > MOST_BLOCKS[surface] else []
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    found += ["block_id twice"] if len(set(ids)) < len(ids) else []
    actions = [one["action_id"] for block in blocks for one in block.get("elements", []) if "action_id" in one]
    found += ["action_id twice"] if len(set(actions)) < len(actions) else []
    for index, block in enumerate(blocks):
        check = _BLOCKS.get((surface, block.get("type")))
        wrong = check(block) if check else [f"unsupported type {block.get('type')!r}"]
        found += [f"/blocks/{index}: {one}" for one in wrong]
    return found


def too_long(blocks: Any) -> bool:
    return len(json.dumps(blocks, ensure_ascii=False).encode()) > LONGEST_IN_ALL


def view_problems(view: Any) -> list[str]:
    found = []
    if view.get("type") != "modal":
        found.append("not a modal")
    found += [f"{name}: {one}" for name in ("title", "submit", "close") for one in _plain(view.get(name), 24)]
    found += ["private_metadata too long"] if len(view.get("private_metadata", "")) > 3000 else []
    found += ["callback_id too long"] if len(view.get("callback_id", "")) > 255 else []
    inputs = any(block.get("type") == "input" for block in view.get("blocks", []))
    found += ["submit is missing"] if inputs and "submit" not in view else []
    return found + problems(view.get("blocks"), "modal")


def _length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _plain(value: Any, most: int) -> list[str]:
    if not isinstance(value, dict) or value.get("type") != "plain_text" or set(value) - {"type", "text", "emoji"}:
        return ["not plain_text"]
    return _bounded(value.get("text"), most)


def _bounded(text: Any, most: int) -> list[str]:
    if not isinstance(text, str) or not text:
        return ["must be more than 0 characters"]
    return [f"must be less than {most + 1} characters"] if _length(text) > most else []


def _header(block: dict[str, Any]) -> list[str]:
    return _plain(block.get("text"), 150)


def _section(block: dict[str, Any]) -> list[str]:
    text = block.get("text") or {}
    if text.get("type") == "mrkdwn":
        return _bounded(text.get("text"), 3000)
    return _plain(text, 3000)


def _rich_text(block: dict[str, Any]) -> list[str]:
    elements = block.get("elements")
    if not elements:
        return ["no elements"]
    found = []
    for element in elements:
        if element.get("type") not in RICH_SECTIONS:
            found.append(f"unsupported element {element.get('type')!r}")
            continue
        inner = element.get("elements") or []
        found += [] if inner else ["an empty section"]
        found += [one for item in inner for one in _rich_item(item)]
        whole = sum(_length(item.get("text", "")) for item in inner)
        if element["type"] == "rich_text_preformatted" and whole > 3000:
            found.append("must be less than 3001 characters")
    return found


def _rich_item(item: dict[str, Any]) -> list[str]:
    match item.get("type"):
        case "text":
            return _bounded(item.get("text"), 3000) + (
                ["unsupported style"] if set(item.get("style", {})) - {"bold", "italic", "strike", "code"} else []
            )
        case "link":
            return _bounded(item.get("url"), 3000) + ([] if item["url"].startswith("http") else ["not a URL"])
        case "date":
            well = isinstance(item.get("timestamp"), int) and "{" in item.get("format", "")
            return [] if well else ["not a date"]
        case other:
            return [f"unsupported element {other!r}"]


def _actions(block: dict[str, Any]) -> list[str]:
    elements = block.get("elements") or []
    found = [] if 1 <= len(elements) <= 25 else [f"{len(elements)} elements"]
    return found + [one for element in elements for one in _button(element)]


def _button(element: dict[str, Any]) -> list[str]:
    if element.get("type") != "button":
        return [f"unsupported element {element.get('type')!r}"]
    found = _plain(element.get("text"), 75) + _bounded(element.get("action_id"), 255)
    found += _bounded(element["value"], 2000) if "value" in element else []
    return found + ([] if element.get("style", "primary") in {"primary", "danger"} else ["no such style"])


def _input(block: dict[str, Any]) -> list[str]:
    element = block.get("element") or {}
    found = _plain(block.get("label"), 2000) + _bounded(element.get("action_id"), 255)
    found += [] if element.get("type") == "plain_text_input" else ["unsupported element"]
    return found + ([] if 1 <= element.get("max_length", 3000) <= 3000 else ["max_length"])


_BLOCKS = {
    ("message", "header"): _header,
    ("message", "section"): _section,
    ("message", "rich_text"): _rich_text,
    ("message", "actions"): _actions,
    ("modal", "section"): _section,
    ("modal", "rich_text"): _rich_text,
    ("modal", "input"): _input,
}
