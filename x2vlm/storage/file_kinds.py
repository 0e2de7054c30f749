"""What a file is that is not weights: a pointer, a web page, an archive, a cut copy."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from pathlib import Path

from x2vlm.errors import CheckpointError

_HEAD = 4096
"""bytes that are looked at"""
_PACKED = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
}
_OTHER = {
    b"\x89HDF": ("an HDF5 file (Keras and others)", "give weights of PyTorch"),
    b"\x93NUMPY": ("one NumPy array", "give weights of PyTorch"),
    b"GGUF": ("a GGUF file (llama.cpp)", "give weights of PyTorch"),
    b"%PDF": ("a PDF document", "download the weights, not their description"),
    b"\x89PNG": ("a picture", "give a file of weights"),
    b"\xff\xd8\xff": ("a picture", "give a file of weights"),
}
_TORCH_EXPORT = "constants.pkl"
_AGAIN = "download it again: "


def check_is_weights(path: Path) -> None:
    """CheckpointError that says what the file is, unless it may be a file of weights."""
    if path.is_dir():
        raise _error(path, "a folder", _folder(path))
    if not path.is_file():
        raise CheckpointError(f"no weights file at {path}")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise _error(path, "empty (0 bytes)", _AGAIN + "the copy or download never began")
    if found := _by_first_bytes(path, head) or _by_text(path, head):
        raise _error(path, *found)


def _error(path: Path, what: str, fix: str) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be read as weights: it is {what}\n"
        f"  expected: a torch file (.th, .pth, .pt, .bin, .ckpt) or .safetensors\n  to do: {fix}"
    )


def _folder(path: Path) -> str:
    """What to give instead of a folder."""
    index = next(iter(sorted(path.glob("*.index.json"))), None)
    if index is not None:
        return _join(index, _shards(index.read_bytes()) or ())
    names = [one.name for one in sorted(path.iterdir()) if one.is_file()][:4]
    return f"name a file of it ({', '.join(names)}, …)" if names else "name a file of weights"


def _by_first_bytes(path: Path, head: bytes) -> tuple[str, str] | None:
    """Archives and files of other programs."""
    for start, what in _PACKED.items():
        if head.startswith(start):
            return what, "unpack it, and give the file inside"
    for start, other in _OTHER.items():
        if head.startswith(start):
            return other
    if head.startswith(b"PK"):
        return _zip(path)
    if head[257:262] == b"ustar":
        with tarfile.open(path) as archive:
            first = archive.next()
        return (
            f"a tar archive ({first.name if first else 'empty'}, …)",
            "unpack it, and give the file inside",
        )
    return None


def _zip(path: Path) -> tuple[str, str] | None:
    """What a zip file is that is not torch's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            unpacked = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile:
        size = path.stat().st_size
        return (
            f"a torch file whose end is missing ({size} bytes are here)",
            _AGAIN + "the copy or download stopped early; compare the size with its source",
        )
    if unpacked > 2 * path.stat().st_size + 2**20:  # made to fill the memory
        return (
            f"of {path.stat().st_size} bytes, but unpacked {unpacked} (torch.save packs nothing)",
            "if you trust it, unpack and save it again with torch.save",
        )
    if any(name.rpartition("/")[2] == _TORCH_EXPORT for name in names):
        return (
            "a TorchScript program, not weights",
            "save the state dict: torch.save(torch.jit.load(FILE).state_dict(), OUT)",
        )
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return None
    return (
        f"a zip archive ({', '.join(names[:3]) or 'empty'})",
        "unpack it, and give the file inside",
    )


def _by_text(path: Path, head: bytes) -> tuple[str, str] | None:
    """Pointers, web pages and other texts."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = start[:512].lower()
    if start.startswith(b"version https://git-lfs"):
        return (
            "a pointer of Git LFS, not the file itself",
            f"git lfs pull --include {path.name}, in the repository it comes from",
        )
    if lower.startswith((b"<!doctype", b"<html", b"<head")) or b"<html" in lower:
        title = re.search(rb"<title[^>]*>\s*(.{0,80}?)\s*(</title|$)", start, re.I | re.S)
        named = f" ({title[1].decode('utf-8', 'replace')!r})" if title and title[1] else ""
        return (
            f"a web page{named}, saved in place of the file",
            "open the address in a browser and confirm the download, or use the direct link",
        )
    if lower.startswith(b"<"):
        return "an XML text, often a server's error message", _AGAIN + "the server refused it"
    if start[:1] in (b"{", b"["):
        return _json(path)
    if _printable(head):
        line = head.splitlines()[0][:60].decode("utf-8", "replace")
        return f"a text that begins {line!r}", "give the file of weights itself"
    return None


def _printable(head: bytes) -> bool:
    """Whether the bytes are text: printable ASCII or UTF-8, no control characters. One line of a
    pickle of protocol 0 is not: it begins with an opcode and a parenthesis."""
    if head.startswith((b"(", b"\x80", b"]", b"}")):
        return False
    text = head.decode("utf-8", "replace")[:1000]
    return all(one.isprintable() or one in "\t\r\n" for one in text) and "\ufffd" not in text


def _json(path: Path) -> tuple[str, str]:
    shards = _shards(path.read_bytes())
    if shards is None:
        return "a JSON text", "give the file of weights itself"
    return (
        f"the index of weights in {len(shards)} parts ({', '.join(shards[:3])}, …)",
        _join(path, shards),
    )


def _shards(text: bytes) -> tuple[str, ...] | None:
    """Names of the files an index of shards speaks of; None when it is no such index."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    table = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(table, dict):
        return None
    return tuple(sorted({str(name) for name in table.values()}))


def _join(index: Path, shards: tuple[str, ...]) -> str:
    """How parts become one file."""
    kind = "safetensors" if any(name.endswith(".safetensors") for name in shards) else "torch"
    read = (
        "from safetensors.torch import load_file as r"
        if kind == "safetensors"
        else "r=lambda p:torch.load(p,map_location='cpu',weights_only=True)"
    )
    return (
        'join the parts, in their folder: python -c "import json,torch;'
        f"{read};d={{}};[d.update(r(p)) for p in "
        f"sorted(set(json.load(open('{index.name}'))['weight_map'].values()))];"
        "torch.save(d,'whole.th')\""
    )
