# mypy: disable-error-code=name-defined
# ruff: noqa: F821
# Hum frozen into the firmware, which leaves most of its code out of the heap. In a checkout of
# MicroPython, beside this one:
#   make -C ports/rp2 BOARD=RPI_PICO_W FROZEN_MANIFEST=/path/to/hum/firmware/manifest.py
#   make -C ports/esp32 BOARD=ESP32_GENERIC FROZEN_MANIFEST=/path/to/hum/firmware/manifest.py
# Versions in /a and /b go before what is frozen: updates over the air work, and what is frozen is
# what remains if both fail.
# Nobody has built this: it is written from MicroPython's tools/manifestfile.py.
include("$(PORT_DIR)/boards/manifest.py")
require("ssl")
package("agent", base_path="..", opt=3)
module("main.py", base_path="onboard", opt=3)
