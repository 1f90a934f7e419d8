"""A disk that loses power: what was not synced is gone, as ext4's journal finds it afterwards."""

import fcntl
import os
import signal
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

# _IOR('X', 125, __u32) of fs/ext4/ext4.h; the flag drops the part of the journal not written yet.
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2


class Disk:
    """An ext4 file system in a file, mounted by a loop device; needs root."""

    def __init__(self, folder: Path, megabytes: int = 192) -> None:
        self.image = folder / "disk.img"
        self.place = folder / "disk"
        self.place.mkdir(parents=True)
        with self.image.open("wb") as file:
            file.truncate(megabytes << 20)
        _call("mkfs.ext4", "-q", "-F", self.image)

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()
        self.unmount()

    def mount(self) -> None:
        _call("mount", "-o", "loop", self.image, self.place)

    def unmount(self) -> None:
        deadline = time.monotonic() + 30
        while subprocess.run(["umount", self.place], capture_output=True).returncode:
            assert time.monotonic() < deadline, f"{self.place} stays busy"
            self.kill_all()
            time.sleep(0.05)

    def cut_power(self) -> None:
        """Lose everything that is not on disk at this moment, processes included; mount again."""
        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)
        self.kill_all()
        self.unmount()
        self.mount()

    def kill_all(self) -> None:
        """Kill every process that works on the disk."""
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if Path(process.cwd()).is_relative_to(self.place):
                    process.send_signal(signal.SIGKILL)


def why_no_disk(folder: Path) -> str:
    """The reason why power cannot be cut here; empty where it can."""
    if os.geteuid():
        return "cutting power needs root, for a loop mount"
    try:
        with Disk(folder, megabytes=16) as disk:
            (disk.place / "lost").touch()
            disk.cut_power()
            return "the shutdown of ext4 loses nothing here" * (disk.place / "lost").exists()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no loop-mounted ext4 here ({error})"


def _call(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
