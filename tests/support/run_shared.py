"""Run one shared test file on MicroPython, from the root:
`micropython tests/support/run_shared.py tests/agent/wire/test_cbor.py`.

Prints one line a test, a traceback for each failure, and a closing `N passed, M failed`.
"""

import gc
import sys
import time


def main(path):
    sys.path[:] = [".", path.rsplit("/", 1)[0]] + [p for p in sys.path if p.startswith(".frozen")]
    module = __import__(path.split("/")[-1][:-3])
    passed = failed = 0
    for name in sorted(dir(module)):
        if not name.startswith("test_"):
            continue
        gc.collect()
        start = time.ticks_ms()
        try:
            getattr(module, name)()
            passed += 1
            print("ok   %s %d ms" % (name, time.ticks_diff(time.ticks_ms(), start)))
        except Exception as error:
            failed += 1
            print("FAIL %s" % name)
            sys.print_exception(error)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(0 if passed and not failed else 1)


main(sys.argv[1])
