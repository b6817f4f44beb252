"""What a board runs first: chooses a version of the application and starts it. Never updated over
the air, so it is short.

/version (its form: agent/runtime/update/versions.py) names the folder in use, /a or /b. A version
on trial costs a try, durably, before it is started; with none left the folder before it runs. What
cannot even be imported gives way to the other folder at once. Without a readable pointer the newer
of the folders that have a manifest is put on trial: it was whole when the manifest was written, and
if it is not any more, it will not be confirmed. If nothing starts there is one line on the console,
and the REPL.
"""

import os
import sys
import time
from hashlib import sha256

TRIES = "3"


def _check(text: str) -> str:
    return sha256(text.encode()).digest()[:8].hex()


def read(root: str) -> list[str] | None:
    """Return [folder, tries, previous, least] as texts, None if there is no such line or it is
    damaged."""
    try:
        with open(root + "/version") as file:
            text, check = file.read(96).rsplit(" ", 1)
        kind, folder, tries, previous, least = text.split(" ")
    except (OSError, ValueError):
        return None
    good = kind == "hum1" and folder in ("a", "b") and (tries == "ok" or tries.isdigit()) and check == _check(text)
    return [folder, tries, previous, least] if good else None


def write(root: str, fields: list[str]) -> bool:
    """Replace the pointer at once or not at all; tell whether that could be done."""
    text = "hum1 " + " ".join(fields)
    try:
        with open(root + "/version.tmp", "w") as file:
            file.write(text + " " + _check(text))
        os.rename(root + "/version.tmp", root + "/version")
    except OSError:
        return False
    return True


def number(root: str, folder: str) -> int:
    """Return the version that the manifest in `folder` claims, 0 if there is none: the folder is
    not whole, then."""
    try:
        with open(root + "/" + folder + "/manifest.cose", "rb") as file:
            head = file.read(18)[12:]  # [0, version] ends the protected header
    except OSError:
        return 0
    size = {24: 1, 25: 2, 26: 4}.get(head[1], 0) if len(head) == 6 and not head[0] else 0
    return int.from_bytes(head[2 : 2 + size], "big") if size else head[1] if len(head) == 6 else 0


def choose(root: str) -> tuple[list[str], list[str] | None]:
    """Return (folders to start, in order; the pointer's fields or None). "" is what came with the
    firmware."""
    fields = read(root)
    if fields is None:
        numbers = {folder: number(root, folder) for folder in ("a", "b")}
        first, second = ("a", "b") if numbers["a"] >= numbers["b"] else ("b", "a")
        if not numbers[first]:
            return [""], None
        fields = [first, TRIES, second if numbers[second] else "-", str(numbers[first] + 1)]
    folder, tries, previous, _ = fields
    back = "" if previous == "-" else previous
    if tries == "ok":
        return [folder, back, ""], fields
    if tries != "0":
        fields[1] = str(int(tries) - 1)
        if write(root, fields):  # or it could be started for ever
            return [folder, back, ""], fields
    return [back, folder, ""], fields


def forget() -> None:
    """Take a version's modules out of the memory."""
    for name in list(sys.modules):
        if name == "agent" or name.startswith("agent."):
            del sys.modules[name]


def reset() -> None:
    """Reset the board, or where there is none end the process with the status that stands for
    it."""
    try:
        from machine import reset as machine_reset
    except ImportError:
        sys.exit(75)
    machine_reset()


def start(root: str) -> None:
    """Start a version of the application whose folders are under `root`: "" on a board. Returns
    only when none can be."""
    folders, fields = choose(root)
    for folder in folders:
        if folder and not number(root, folder):
            continue
        if folder:
            sys.path.insert(0, root + "/" + folder)
        try:
            from agent.runtime.main import main
        except Exception as error:
            print("hum:", folder or "the firmware's version", "does not start:", repr(error))
            if folder:
                sys.path.pop(0)
            forget()
            if fields and folder == fields[0] and fields[1] not in ("ok", "0"):
                fields[1] = "0"
                write(root, fields)
            continue
        try:
            main(root, folder)
        except Exception as error:  # it should not: the application resets the board by itself
            print("hum:", folder or "the firmware's version", "ended:", repr(error))
            time.sleep(1)  # Ctrl-C must get through to a board that dies again and again
            reset()
        return
    print("hum: no version of the application starts; flash one over the serial port")


if __name__ == "__main__":
    start(sys.argv[1] if len(sys.argv) > 1 else "")
