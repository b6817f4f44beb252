"""Files and folders for the shared tests: what MicroPython has no library for."""

import os


class Folder:
    """A new folder for a `with`, removed with all that is in it."""

    def __enter__(self):
        name = "hum-test-" + "".join([f"{byte:02x}" for byte in os.urandom(8)])
        self._path = (os.getenv("TMPDIR") or "/tmp") + "/" + name
        os.mkdir(self._path)
        return self._path

    def __exit__(self, kind, error, trace):
        remove(self._path)


def remove(path):
    if os.stat(path)[0] & 0x4000:
        for name in os.listdir(path):
            remove(path + "/" + name)
        os.rmdir(path)
    else:
        os.remove(path)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()
