"""Pictures of items from one folder: nothing outside it, and nothing but pictures."""

from __future__ import annotations

from pathlib import Path

from crossrec.errors import DataError

MEDIA = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
"""Endings of pictures. Formats that can hold scripts (SVG) are none."""
LARGEST = 16 * 2**20
"""Bytes of the largest picture that is served."""


class Pictures:
    """A folder of pictures, by file name (which may hold folders), or by item id: ``ID.jpg``."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError where there is no such folder."""
        if not folder.is_dir():
            raise DataError(f"--pictures {folder}: no such folder")
        self.folder = folder.resolve()

    def find(self, name: str | None, item: str) -> Path | None:
        """The file that ``name`` leads to, or else that is called by the item's id; None where there is none."""
        names = [f"{item}{ending}" for ending in MEDIA] if not name else [name]
        return next((path for one in names if (path := self._inside(one)) is not None), None)

    def _inside(self, name: str) -> Path | None:
        if Path(name).suffix.lower() not in MEDIA:
            return None
        try:
            path = (self.folder / name).resolve()
            return path if path.is_relative_to(self.folder) and path.is_file() else None
        except (OSError, ValueError, RuntimeError):  # too long, a NUL, links in a circle
            return None


def read_picture(path: Path) -> tuple[bytes, str] | None:
    """Content and media type; None where the content is not what the ending says, is too large or cannot be read."""
    try:
        if path.stat().st_size > LARGEST:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    media = MEDIA[path.suffix.lower()]
    return (content, media) if _begins_like(content, media) else None


def _begins_like(content: bytes, media: str) -> bool:
    if media == "image/webp":
        return content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    begins = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n", "image/gif": b"GIF8"}
    return content.startswith(begins[media])
