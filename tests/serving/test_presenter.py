"""Pictures come from one folder, and nothing else does."""

from __future__ import annotations

from crossrec.serving import presenter
from crossrec.serving.presenter import MAX_BYTES, ImageFolder, read_image

from .worlds import png, write_pictures


def test_pictures_come_from_their_folder_only(tmp_path):
    folder = write_pictures(tmp_path / "pictures")
    (tmp_path / "secret.png").write_bytes(png(1, 2, 3))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "text.png").write_text("<script>alert(1)</script>")
    (folder / "page.svg").write_text("<svg/>")
    (folder / "id 7.png").write_bytes(png(9, 9, 9))
    (folder / "round.png").symlink_to("round.png")
    images = ImageFolder(folder)
    assert images.find("one.png", "") == folder / "one.png"
    assert images.find("folder/../one.png", "") == folder / "one.png"
    assert images.find(None, "id 7") == folder / "id 7.png"
    refused = ("../secret.png", str(tmp_path / "secret.png"), "link.png", "page.svg", "folder", "", "one.png\x00.png")
    for name in (*refused, "x" * 5000 + ".png", "round.png", "../pictures.png"):
        assert images.find(name or None, "../secret") is None, name[:50]
    mislabelled = images.find("text.png", "")
    assert mislabelled is not None
    assert read_image(mislabelled) is None
    assert read_image(folder / "one.png") == (png(255, 120, 0), "image/png")


def test_pictures_above_the_largest_size_are_not_read(tmp_path, monkeypatch):
    path = write_pictures(tmp_path / "pictures") / "one.png"
    monkeypatch.setattr(presenter, "MAX_BYTES", len(png(255, 120, 0)))
    assert read_image(path) is not None
    with path.open("ab") as file:
        file.write(b"x")
    assert read_image(path) is None
    assert MAX_BYTES == 16 * 2**20
