"""Read pictures of items from one folder, and nothing else."""

from __future__ import annotations

from pathlib import Path

from crossrec.errors import DataError

MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
"""Media types by file ending. Formats that can hold scripts, such as SVG, are left out."""
MAX_BYTES = 16 * 2**20
"""Size of the largest picture to serve."""


class ImageFolder:
    """A folder of pictures, found by file name (which may hold folders) or by item id as ``ID.jpg``."""

    def __init__(self, folder: Path | str) -> None:
        """Raises DataError if there is no such folder."""
        folder = Path(folder)
        if not folder.is_dir():
            raise DataError(f"--pictures {folder}: no such folder")
        self.folder = folder.resolve()

    def find(self, name: str | None, item_id: str) -> Path | None:
        """The file called ``name``, or without a name the one called by the item's id; None if there is none."""
        names = [name] if name else [f"{item_id}{ending}" for ending in MEDIA_TYPES]
        return next((path for candidate in names if (path := self._inside(candidate)) is not None), None)

    def _inside(self, name: str) -> Path | None:
        if Path(name).suffix.lower() not in MEDIA_TYPES:
            return None
        try:
            path = (self.folder / name).resolve()
            return path if path.is_relative_to(self.folder) and path.is_file() else None
        except (OSError, ValueError, RuntimeError):  # too long, a NUL, links in a circle
            return None


def read_image(path: Path) -> tuple[bytes, str] | None:
    """Content and media type of a picture; None if it is too large, unreadable, or does not match its ending."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    media_type = MEDIA_TYPES[path.suffix.lower()]
    return (content, media_type) if _has_signature(content, media_type) else None


def _has_signature(content: bytes, media_type: str) -> bool:
    if media_type == "image/webp":
        return content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    signatures = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n", "image/gif": b"GIF8"}
    return content.startswith(signatures[media_type])
