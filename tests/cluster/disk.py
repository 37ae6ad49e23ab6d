# SPDX-License-Identifier: Apache-2.0
"""A disk of a node's own: a small ext4 in a loop device, that can be filled and emptied."""

import os
import subprocess
import time

MIB = 1 << 20
MKFS = ["mkfs.ext4", "-q", "-F", "-m", "0", "-N", "256", "-J", "size=4"]


def run_as_root(*words):
    command = list(words) if os.geteuid() == 0 else ["sudo", "-n", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def missing():
    """Why there can be no such disk here, or None."""
    if run_as_root("true").returncode != 0:
        return "needs root to mount a disk"
    if run_as_root("losetup", "--find").returncode != 0:
        return "needs a loop device"
    return None


class Disk:
    """Mounted at @mountpoint, owned by whoever runs the tests."""

    def __init__(self, mountpoint, size=64 * MIB):
        self.mountpoint = mountpoint
        self.image = mountpoint.with_name(mountpoint.name + ".image")
        self.ballast = mountpoint / "ballast"
        self.mountpoint.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(size)
        self._run(*MKFS, str(self.image))
        self._run("mount", "-o", "loop", str(self.image), str(self.mountpoint))
        self._run("chown", f"{os.getuid()}:{os.getgid()}", str(self.mountpoint))

    @staticmethod
    def _run(*words):
        result = run_as_root(*words)
        assert result.returncode == 0, f"{words}: {result.stderr}"

    def free(self):
        info = os.statvfs(self.mountpoint)
        return info.f_bavail * info.f_frsize

    def fill(self, leave=0):
        """Take what is free but for about @leave bytes; again and again until it is so, since
        others take and give at the same time."""
        with open(self.ballast, "ab") as ballast:
            while self.free() > leave:
                step = max(min(self.free() - leave, 8 * MIB), 4096)
                try:
                    ballast.write(b"\1" * step)
                    ballast.flush()
                    os.fsync(ballast.fileno())
                except OSError:
                    if leave > 0:
                        raise
                    break

    def empty(self):
        self.ballast.unlink(missing_ok=True)

    def close(self):
        deadline = time.monotonic() + 30
        while run_as_root("umount", str(self.mountpoint)).returncode != 0:
            if not os.path.ismount(self.mountpoint):
                break
            assert time.monotonic() < deadline, f"{self.mountpoint} stays busy"
            time.sleep(0.1)
        self.image.unlink()
