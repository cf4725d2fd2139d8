from __future__ import annotations

import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.data.official import source_of, tar_of, write
from tuner.data import files
from tuner.data.files import (
    default_data_dir,
    download,
    fetch,
    keras_cache,
    locate,
    read,
    unpack,
)
from tuner.errors import InputError

FILES = {"train": b"training images", "test": b"test images"}
SOURCE = source_of("cifar100", "cifar-100-python", FILES, "cifar-100-python.tar.gz")
PLAIN = source_of("fashion_mnist", "fashion-mnist", FILES)


@pytest.fixture
def server(tmp_path):
    """A folder that serves the archive and the plain files, as a URL."""
    folder = tmp_path / "server"
    write(folder, FILES | {"cifar-100-python.tar.gz": tar_of("cifar-100-python", FILES)})
    return f"{folder.as_uri()}/"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_environment_names_the_data_folder():
    assert default_data_dir({"TUNER_DATA_DIR": "/data"}) == Path("/data")
    assert default_data_dir({"TUNER_DATA_DIR": ""}) is None
    assert default_data_dir({}) is None


@pytest.mark.parametrize("below", ["cifar-100-python", "cifar-100-python-target/cifar-100-python"])
def test_files_are_found_below_the_data_folder_and_in_keras_cache(tmp_path, below):
    assert locate(SOURCE, tmp_path) is None
    write(keras_cache(os.environ) / below, FILES)
    assert locate(SOURCE, tmp_path) == keras_cache(os.environ) / below
    write(tmp_path / below, FILES)
    assert locate(SOURCE, tmp_path) == tmp_path / below


def test_the_folder_itself_may_be_named(tmp_path):
    write(tmp_path / "cifar-100-python", FILES)
    assert locate(SOURCE, tmp_path / "cifar-100-python") == tmp_path / "cifar-100-python"


def test_a_folder_without_all_files_is_passed_over(tmp_path):
    write(tmp_path / "cifar-100-python", {"train": FILES["train"]})
    assert locate(SOURCE, tmp_path) is None


def test_a_damaged_file_is_named_with_what_was_received_and_expected(tmp_path):
    path = tmp_path / "train"
    path.write_bytes(b"training image")
    with pytest.raises(InputError) as caught:
        read(path, SOURCE["train"])
    (problem,) = caught.value.problems
    assert problem.where == str(path)
    assert "14 bytes" in problem.received
    assert SOURCE["train"].md5 in problem.expected
    assert "delete it" in problem.mend


def test_an_archive_is_downloaded_unpacked_and_removed(tmp_path, server):
    told: list[tuple[int, int]] = []
    source = replace(SOURCE, url=server)
    folder = fetch(source, tmp_path / "new", lambda _, done, total: told.append((done, total)))
    assert folder == tmp_path / "new" / "cifar-100-python"
    assert contents(folder) == FILES
    assert {path.name for path in folder.parent.iterdir()} == {"cifar-100-python", ".cifar100.lock"}
    size = len(tar_of("cifar-100-python", FILES))
    assert told == [(size, size)]


def test_plain_files_are_downloaded_into_their_folder(tmp_path, server):
    folder = fetch(replace(PLAIN, url=server), tmp_path / "new")
    assert folder == tmp_path / "new" / "fashion-mnist"
    assert contents(folder) == FILES


def test_without_a_data_folder_the_download_goes_to_keras_cache(server):
    folder = fetch(replace(SOURCE, url=server), None)
    assert folder == keras_cache(os.environ) / "cifar-100-python"


def test_an_archive_that_is_there_is_unpacked_and_kept(tmp_path):
    write(tmp_path, {"cifar-100-python.tar.gz": tar_of("cifar-100-python", FILES)})
    assert contents(fetch(SOURCE, tmp_path)) == FILES
    assert (tmp_path / "cifar-100-python.tar.gz").exists()


def test_a_damaged_archive_is_named(tmp_path):
    write(tmp_path, {"cifar-100-python.tar.gz": b"half of it"})
    with pytest.raises(InputError, match=r"cifar-100-python\.tar\.gz: damaged"):
        fetch(SOURCE, tmp_path)


def test_without_network_one_error_says_what_to_put_where_and_nothing_is_written(tmp_path):
    data_dir = tmp_path / "data"
    with pytest.raises(InputError) as caught:
        fetch(SOURCE, data_dir)
    (problem,) = caught.value.problems
    assert "cifar100" in problem.what
    assert "train, test" in problem.expected
    assert str(data_dir / "cifar-100-python") in problem.expected
    assert str(keras_cache(os.environ)) in problem.expected
    assert "cifar-100-python.tar.gz" in problem.mend
    assert "TUNER_DATA_DIR" in problem.mend
    assert not data_dir.exists()


def test_a_download_with_other_content_is_refused_and_leaves_nothing(tmp_path, server):
    (tmp_path / "server" / "cifar-100-python.tar.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="md5"):
        fetch(replace(SOURCE, url=server), tmp_path / "new")
    assert contents(tmp_path / "new") == {".cifar100.lock": b""}
    assert not list((tmp_path / "new" / "cifar-100-python").iterdir())


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path, server):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="could not be downloaded"):
        fetch(replace(SOURCE, url=server), tmp_path / "file")


def test_many_at_once_download_once(tmp_path, server, monkeypatch):
    downloads = []
    download = files.download

    def counted(*arguments):
        downloads.append(arguments)
        download(*arguments)

    monkeypatch.setattr(files, "download", counted)
    source = replace(SOURCE, url=server)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: fetch(source, tmp_path / "new"), range(4)))
    assert folders == {tmp_path / "new" / "cifar-100-python"}
    assert len(downloads) == 1


def test_only_the_named_members_of_an_archive_are_written(tmp_path):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("../outside", "/absolute", "folder/other", "folder/train"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    target = tmp_path / "target"
    target.mkdir()
    unpack(archive, {"folder/train": target / "train"})
    assert [path.name for path in target.iterdir()] == ["train"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "target"]


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path):
    archive = tmp_path / "a.tar"
    link = tarfile.TarInfo("folder/train")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(link)
    with pytest.raises(OSError, match="does not hold folder/train"):
        unpack(archive, {"folder/train": tmp_path / "train"})
    assert not (tmp_path / "train").exists()


def test_a_download_that_ends_early_or_never_says_so(tmp_path, server):
    archive = tmp_path / "server" / "cifar-100-python.tar.gz"
    size = archive.stat().st_size
    for told, words in ((size + 5, "ended early, after"), (size - 5, "sends more than")):
        with pytest.raises(OSError, match=words):
            download(archive.as_uri(), tmp_path / "new", SOURCE.archive.md5, told)
        assert not (tmp_path / "new").exists()
