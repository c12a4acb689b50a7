"""Damage and nonsense: bytes as disks and networks spoil them, and forms that say what they should not."""

import copy
import io
import json
import math
import os
import re
import struct
import tomllib
import zipfile

import numpy as np
import polars as pl
import tomli_w
from polars.exceptions import PanicException, PolarsError

ODD = [
    *(None, True, False, 0, -1, 1.5, -1e300, 1e300, math.nan, math.inf, -math.inf),
    *(10**12, 2**31, 2**63, 2**64, -(2**63), 10**400),
    *("", " ", "x", "nan", "1e999", "\0", "a\nb", "\ud7ff\U0010ffff"),
    *("../../x", "/dev/zero", "x" * 5000, "[" * 2000),
    *([], {}, [None], {"": None}, [[[]]], ["x", 1], {"a": {"b": {}}}),
]
TEXTS = [
    one if isinstance(one, str) else json.dumps(one)
    for one in ODD
    if one is None or not isinstance(one, dict)
]
SIZES = [0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 10**12, 2**62, 2**63, 2**64 - 1]
KINDS = ["|O", "<U100000000", "|V8", "<M8[ns]", "<c16", ">f8", "|b1", "<f2", "[('a', '<f8')]", "nonsense"]


def pick(rng, options):
    """One of `options`."""
    return options[int(rng.integers(len(options)))]


def spoiled(content, rng):
    """Bytes flipped, cut off, moved, doubled, left out, put in, or replaced by a large number."""
    found = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        at, other = sorted(rng.integers(0, len(found) + 1, 2).tolist())
        if rng.random() < 0.5:  # near the beginning or the end, where headers are
            at = min(at, int(rng.integers(0, 200))) if rng.random() < 0.6 else max(at, len(found) - 200)
        other = max(at, min(other, at + int(2 ** rng.uniform(0, 12))))
        how = int(rng.integers(8))
        if how == 0 and found:
            found[min(at, len(found) - 1)] ^= 1 << int(rng.integers(8))
        elif how == 1:
            del found[at:]
        elif how == 2:
            found[at:at] = found[at:other]
        elif how == 3:
            del found[at:other]
        elif how == 4:
            found[at:other] = rng.bytes(other - at)
        elif how == 5:
            found[at:at] = rng.bytes(int(rng.integers(1, 20)))
        elif how == 6:
            size = pick(rng, SIZES)
            packed = (
                struct.pack(pick(rng, "<>") + "Q", size)
                if rng.random() < 0.5
                else struct.pack(">I", size % 2**32)
            )
            found[at : at + len(packed)] = packed
        else:
            middle = (at + other) // 2
            found[at:other] = found[middle:other] + found[at:middle]
    return bytes(found)


def _places(tree):
    """Every container within `tree`, with each of its keys."""
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key])


def other(tree, rng):
    """A tree of lists and tables in which values are replaced, left out, doubled, or called otherwise."""
    holder = {"": copy.deepcopy(tree)}
    for _ in range(int(rng.integers(1, 3))):
        places = list(_places(holder))
        where, key = places[0] if rng.random() < 0.02 else pick(rng, places[1:] or places)
        how = rng.random()
        if how < 0.6:
            where[key] = copy.deepcopy(pick(rng, ODD))
        elif how < 0.7:
            where[key] = [where[key]] if rng.random() < 0.5 else {"x": where[key]}
        elif how < 0.85 and where is not holder:
            del where[key]
        elif isinstance(where, list):
            where.append(copy.deepcopy(where[key]))
        elif where is not holder:
            where[str(pick(rng, ODD))[:50]] = copy.deepcopy(where[key])
    return holder[""]


def json_other(content, rng):
    """JSON that says something else."""
    if rng.random() < 0.03:
        deep = int(rng.integers(500, 200_000))
        return b"[" * deep + b"]" * deep
    return json.dumps(other(json.loads(content), rng)).encode()


def _said(value):
    """What TOML can say of a value."""
    if isinstance(value, dict):
        return {str(key).replace("\0", "0"): _said(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_said(one) for one in value]
    return "null" if value is None else value


def toml_other(content, rng):
    """TOML that says something else."""
    if rng.random() < 0.05:
        deep = int(rng.integers(100, 100_000))
        more = pick(rng, [b"x = " + b"[" * deep, b"[x" + b".x" * deep + b"]\n", b"x = " + b"{x=" * deep])
        return more + b"\n" + content if rng.random() < 0.3 else content + b"\n" + more
    table = other(tomllib.loads(content.decode()), rng)
    return (
        tomli_w.dumps(_said(table)).encode()
        if isinstance(table, dict)
        else str(table).encode("utf-8", "replace")
    )


def csv_other(content, rng):
    """A table with other cells, or with rows and columns that are missing, doubled or moved."""
    text = content.decode()
    separator = max(",;\t|", key=text.count)
    rows = [line.split(separator) for line in text.splitlines()]
    for _ in range(int(rng.integers(1, 4))):
        row = pick(rng, rows)
        column, how = int(rng.integers(len(row))) if row else 0, rng.random()
        if how < 0.4 and row:
            row[column] = pick(rng, TEXTS)
        elif how < 0.6:
            cell = pick(rng, TEXTS)
            for one in rows[int(rng.integers(2)) :]:
                one[column : column + 1] = [cell]
        elif how < 0.7:
            for one in rows:
                del one[column : column + 1]
        elif how < 0.8:
            rows.insert(int(rng.integers(len(rows) + 1)), list(row))
        elif how < 0.9 and len(rows) > 1:
            rows.remove(row)
        else:
            rng.shuffle(rows)
    return "\n".join(separator.join(row) for row in rows).encode("utf-8", "replace")


def xml_other(content, rng):
    """XML with other attributes or texts, or with elements that are missing or doubled."""
    text = content.decode()
    for _ in range(int(rng.integers(1, 3))):
        how = rng.random()
        found = list(re.finditer(r'(?<==")[^"]*(?=")|(?<=>)[^<>]+(?=<)' if how < 0.6 else r"<[^<>]*>", text))
        if not found:
            break
        one = pick(rng, found)
        instead = pick(rng, TEXTS).replace("\0", "") if how < 0.6 else "" if how < 0.8 else 2 * one[0]
        text = text[: one.start()] + instead + text[one.end() :]
    return text.encode("utf-8", "replace")


def parquet_other(content, rng):
    """A parquet file whose columns are of other types, hold nothing, are missing or called otherwise."""
    frame, said = pl.read_parquet(content), pl.read_parquet_metadata(io.BytesIO(content))
    said = {name: value for name, value in said.items() if name == "plait"}
    if said and rng.random() < 0.4:
        said["plait"] = json_other(said["plait"].encode(), rng).decode()
        frames = [frame]
    else:
        frames = [_columns_other(frame, rng)]
    made = io.BytesIO()
    frames[0].write_parquet(made, metadata=said if said and rng.random() < 0.95 else None)
    return made.getvalue()


def _columns_other(frame, rng):
    for _ in range(int(rng.integers(1, 3))):
        name = pick(rng, frame.columns or ["x"])
        own = pl.col(name)
        ways = [
            own.cast(pl.String, strict=False) if frame[name].dtype != pl.List else own.list.len(),
            pl.lit(None).alias(name),
            pl.lit(None, pl.List(pl.Float64)).alias(name),
            pl.when(pl.int_range(pl.len()) == 0).then(None).otherwise(own).alias(name),
            pl.when(pl.int_range(pl.len()) == pl.len() - 1).then(None).otherwise(own).alias(name),
            own.implode().over(pl.int_range(pl.len()))
            if frame[name].dtype != pl.List
            else own.list.reverse(),
            pl.struct(own).alias(name),
            pl.lit(
                pick(rng, [math.nan, math.inf, -math.inf, 1e300, -1.0, 1e-300, 2**63 - 1, True, "", "x"])
            ).alias(name),
            pl.lit(0).cast(pl.Datetime("ns")).alias(name),
            pl.lit(0).cast(pl.Duration("ns")).alias(name),
            pl.lit(0).cast(pl.Time).alias(name),
            pl.lit(0).cast(pl.Date).alias(name),
            pl.lit("1.5").cast(pl.Decimal(10, 2)).alias(name),
            pl.lit(b"x").alias(name),
            pl.lit("x").cast(pl.Categorical).alias(name),
            own.alias(f"{name}x"),
        ]
        how = int(rng.integers(len(ways) + 5))
        if how < len(ways):
            frame = frame.with_columns(ways[how])
        elif how == len(ways):
            frame = frame.drop(name)
        elif how == len(ways) + 1:
            frame = frame.rename({name: "other"})
        elif how == len(ways) + 2:
            frame = pl.concat([frame, frame[: int(rng.integers(len(frame) + 1))]])
        elif how == len(ways) + 3:
            frame = frame[: int(rng.integers(2))]
        else:
            frame = frame.with_columns(
                own.sort(descending=True) if frame[name].dtype.is_numeric() else own.reverse()
            )
    return frame


def npy_other(content, rng):
    """An array whose header says something else."""
    file = io.BytesIO(content)
    np.lib.format.read_magic(file)
    shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
    body = file.read()
    said = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": fortran, "shape": shape}
    how = rng.random()
    if how < 0.5:
        sizes = list(shape)
        sizes[int(rng.integers(len(sizes)))] = pick(rng, [*SIZES, -1])
        said["shape"] = pick(rng, [tuple(sizes), (*shape, 0), shape[1:], (), "x", None, (10**9,) * 4])
    elif how < 0.8:
        said["descr"] = pick(rng, KINDS)
    else:
        del said[pick(rng, list(said))]
    text = repr(said).replace('"[(', "[(").replace(')]"', ")]") + "\n"
    if rng.random() < 0.05:
        text = "{'descr': " + "(" * 5000
    header = text.encode().ljust(118 if len(text) < 118 else len(text))
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) % 2**16) + header + body


def npz_other(content, rng):
    """Arrays in a zip file of which one says something else, is missing or damaged."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = pick(rng, list(members))
    how = rng.random()
    if how < 0.2:
        del members[name]
    elif how < 0.7:
        members[name] = npy_other(members[name], rng)
    else:
        members[name] = spoiled(members[name], rng)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", pick(rng, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for one, held in members.items():
            archive.writestr(one, held)
    return made.getvalue()


def tensors_other(content, rng):
    """Safetensors whose header says something else."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json_other(content[8 : 8 + size], rng)
    return (
        struct.pack("<Q", len(header) if rng.random() < 0.9 else pick(rng, SIZES))
        + header
        + content[8 + size :]
    )


FORMS = {
    "json": json_other,
    "toml": toml_other,
    "csv": csv_other,
    "xml": xml_other,
    "parquet": parquet_other,
    "npy": npy_other,
    "npz": npz_other,
    "tensors": tensors_other,
}


def mutated(content, form, rng):
    """Another content in place of a valid one of this form; of none of `FORMS`, only bytes are spoiled."""
    if form in FORMS and rng.random() < 0.7:
        try:
            return FORMS[form](content, rng)
        except (PolarsError, PanicException, ValueError, OverflowError, struct.error):
            pass  # what cannot be written so is spoiled instead
    return spoiled(content, rng)


def _sparse(file):
    file.touch()
    os.truncate(file, 2**40)


SPECIAL = {
    "nothing": lambda file: file.touch(),
    "blanks": lambda file: file.write_bytes(b" \n" * 50),
    "zeros": lambda file: file.write_bytes(bytes(5000)),
    "a folder": lambda file: file.mkdir(),
    "a pipe": os.mkfifo,
    "a device": lambda file: file.symlink_to("/dev/zero"),
    "no device": lambda file: file.symlink_to("/dev/null"),
    "a link to itself": lambda file: file.symlink_to(file.name),
    "a link to nothing": lambda file: file.symlink_to("nothing"),
    "not there": lambda file: None,
    "a hole of a TiB": _sparse,
}
