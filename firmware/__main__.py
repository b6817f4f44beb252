"""`python -m firmware` is the `hum-firmware` command."""

from firmware.start import hum_firmware

hum_firmware()
