"""Unpacking: the same files come out, a stopped run continues, and what would leave the folder is refused."""

import io
import tarfile
import zipfile

import numpy as np
import pytest

from tests.helpers import one_line_error, tool_module

tool = tool_module("unpack")
FILES = {
    "set/rgb/1.png": np.random.default_rng(0).bytes(5000),
    "set/rgb/2.png": b"",
    "set/notes.txt": b"text " * 900,
}


def write_tar(path, files=FILES, mode="w", **changes):
    with tarfile.open(path, mode) as file:
        folder = tarfile.TarInfo("set")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in changes.items():
                setattr(info, key, value)
            file.addfile(info, io.BytesIO(content))
    return path


def write_zip(path, files=FILES, attributes=0):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("set/", b"")
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes
            file.writestr(info, content)
    return path


def run(archives, output):
    """The exit status."""
    names = ",".join(map(str, archives))
    return tool.run_tool(tool.unpack_all, tool.Options, [f"--archives={names}", f"--output={output}"])


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WRITERS = {
    ".zip": write_zip,
    ".tar": write_tar,
    ".tar.gz": lambda path: write_tar(path, mode="w:gz"),
    ".tar.xz": lambda path: write_tar(path, mode="w:xz"),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_same_files_come_out(tmp_path, capsys, suffix):
    archive = WRITERS[suffix](tmp_path / f"data{suffix}")
    output = tmp_path / "out"
    assert run([archive], output) == 0
    assert contents(output) == FILES
    (output / "set/rgb/1.png").write_bytes(b"half")
    (output / "set/notes.txt").unlink()
    assert run([archive], output) == 0
    assert contents(output) == FILES
    assert f"{archive}: 3 files in {output} (2 new, 1 found)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../evil.txt", "set/../../evil.txt", "/evil.txt", "..\\evil.txt", "C:/evil.txt"])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_entries_that_leave_the_folder_are_refused(tmp_path, capsys, name, write):
    archive = write(tmp_path / "evil", {"set/good.txt": b"good", name: b"evil"})
    output = tmp_path / "below" / "out"
    line = one_line_error(run([archive], output), capsys.readouterr().err)
    assert "points outside the folder" in line and "evil.txt" in line
    assert not list(tmp_path.rglob("evil.txt"))


def test_links_and_devices_are_refused(tmp_path, capsys):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        archive = write_tar(tmp_path / "link.tar", {"set/link": b""}, type=kind, linkname="/etc")
        line = one_line_error(run([archive], tmp_path / "out"), capsys.readouterr().err)
        assert "'set/link' is a link or a device" in line
    archive = write_zip(tmp_path / "link.zip", {"set/link": b"/etc"}, attributes=0o120777 << 16)
    line = one_line_error(run([archive], tmp_path / "out"), capsys.readouterr().err)
    assert "'set/link' is a link or a device" in line
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out/set").symlink_to(outside)
    line = one_line_error(run([write_zip(tmp_path / "data.zip")], tmp_path / "out"), capsys.readouterr().err)
    assert "through a link" in line and not list(outside.iterdir())


@pytest.mark.parametrize("suffix", WRITERS)
def test_damaged_archives_are_one_error(tmp_path, capsys, suffix):
    archive = WRITERS[suffix](tmp_path / f"data{suffix}")
    whole = archive.read_bytes()
    for length in (0, 10, len(whole) // 3, len(whole) // 2):
        archive.write_bytes(whole[:length])
        line = one_line_error(run([archive], tmp_path / str(length)), capsys.readouterr().err)
        assert "no .zip or .tar file, or damaged" in line
        left = contents(tmp_path / str(length)) if (tmp_path / str(length)).exists() else {}
        assert left.items() <= FILES.items()  # complete files only
    random = np.random.default_rng(1)
    for attempt in range(40):
        spoilt = bytearray(whole)
        spoilt[random.integers(len(spoilt))] ^= random.integers(1, 256)
        archive.write_bytes(spoilt)
        if run([archive], tmp_path / f"spoilt{attempt}"):
            one_line_error(2, capsys.readouterr().err)
        assert not list((tmp_path / f"spoilt{attempt}").rglob("*.tmp"))


def test_wrong_usage_is_one_line(tmp_path, capsys):
    archive = write_zip(tmp_path / "data.zip")
    (tmp_path / "file").write_text("")
    for archives, output, expected in (
        ([], tmp_path / "out", "--archives=FILE,... is missing"),
        ([archive], "", "--output=FOLDER is missing"),
        ([tmp_path / "none.zip"], tmp_path / "out", "none.zip: no such file or directory"),
        ([tmp_path], tmp_path / "out", "is a directory"),
        ([archive], tmp_path / "file", "file"),
    ):
        assert expected in one_line_error(run(archives, output), capsys.readouterr().err)
