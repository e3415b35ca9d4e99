"""The settings of an experiment: a frozen dataclass, a TOML file, `key=value` on the command line."""

import dataclasses
import hashlib
import json
import math
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from xaijax.core._errors import complaint, nearest


def settings(config: Any) -> dict[str, Any]:
    """A config as plain values: tuples are lists."""
    return json.loads(json.dumps(dataclasses.asdict(config), allow_nan=False))


def digest(name: str, config: Any) -> str:
    """What a run directory is named after: the same for equal settings, and for no others."""
    text = json.dumps([name, settings(config)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def changed(config: Any, path: str | None, overrides: Sequence[str]) -> Any:
    """A config with the settings of a TOML file, then those of `key=value`.

    Raises:
      ValueError: there is no such setting, a value is of the wrong type, or the file is no TOML.
      FileNotFoundError: there is no such file.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values |= tomllib.loads(Path(path).read_text("utf-8"))
        except tomllib.TOMLDecodeError as error:
            rule = "be a TOML file of settings"
            raise ValueError(
                complaint("experiments", "--config", rule, f"'{path}': {error}")
            ) from None
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            rule = "be key=value"
            raise ValueError(complaint("experiments", "settings", rule, repr(override)))
        values[key.strip()] = _Text(text.strip())
    return from_settings(type(config), values, config)


def from_settings(kind: type, values: Mapping[str, Any], base: Any = None) -> Any:
    """The config of some plain values; those that are not given are as in `base`, or the defaults.

    Raises:
      ValueError: there is no such setting, or a value is of the wrong type.
    """
    types = typing.get_type_hints(kind)
    read = {}
    for key, value in values.items():
        if key not in types:
            fix = f"{nearest(key, types)} Settings: {', '.join(types)}.".strip()
            raise ValueError(
                complaint("experiments", "settings", "have a known name", repr(key), fix)
            )
        read[key] = _read(key, value, types[key])
    return dataclasses.replace(base or kind(), **read)


class _Text(str):
    """A value from the command line, which has no type yet."""


def _read(key: str, value: Any, kind: Any) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value in inner:
            return str(value) if isinstance(value, str) else value
        raise ValueError(
            complaint(
                "experiments", key, f"be one of {', '.join(map(str, inner))}", repr(str(value))
            )
        )
    if origin is tuple:
        items = [_Text(v.strip()) for v in value.split(",")] if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise ValueError(complaint("experiments", key, "be a list", repr(value)))
        return tuple(_read(key, item, inner[0]) for item in items)
    plain = _plain(value, kind) if isinstance(value, _Text) else value
    fits = type(plain) is kind or (kind is float and type(plain) is int)
    if not fits or (isinstance(plain, float) and not math.isfinite(plain)):
        rule = {int: "be a whole number", float: "be a finite number", bool: "be true or false"}
        shown = repr(str(value)) if isinstance(value, str) else repr(value)
        raise ValueError(
            complaint("experiments", key, rule.get(kind, f"be a {kind.__name__}"), shown)
        )
    return float(plain) if kind is float else plain


def _plain(text: str, kind: type) -> Any:
    """What a text means as a value of a type; the text itself if it means nothing."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind is str:
        return str(text)
    try:
        return kind(text)
    except ValueError:
        return text
