"""Names that every firmware has, and names that Python's and MicroPython's own modules and classes
have."""

import builtins
import importlib
import re

WORD = re.compile(r"\w+")
# Of the names in every firmware, those that mean nothing to the compiler and that nothing built in
# looks for in an object.
FREE = WORD.findall("""
    abs all any append bool builtins bytearray bytecode bytes callable chr classmethod clear copy count dict dir divmod end endswith
    eval exec extend find format from_bytes get getattr globals hasattr hash id index insert int isalpha isdigit isinstance islower
    isspace issubclass isupper items iter join key keys len list little locals lower lstrip map open ord pop popitem pow range remove
    repr replace reverse rfind rindex round rsplit rstrip sep set setattr setdefault sort sorted split start startswith staticmethod
    step stop str strip sum to_bytes tuple update upper values zip
""")
# For globals only, where the module does not mention them: these mean something as an attribute, or
# are built in.
GLOBAL = WORD.findall("""
    ArithmeticError AssertionError AttributeError BaseException EOFError Ellipsis GeneratorExit ImportError IndentationError
    IndexError KeyError KeyboardInterrupt LookupError MemoryError NameError NoneType NotImplementedError OSError OverflowError
    RuntimeError StopIteration SyntaxError SystemExit TypeError ValueError ZeroDivisionError __call__ __delitem__ __enter__
    __exit__ __getitem__ __hash__ __int__ __iter__ __len__ __next__ __repr__ __setitem__ __str__ args close next object read
    readinto readline send throw value write
""")
# When those run out: they cost something, but they are short, and the same everywhere.
MORE = [letter + digit for digit in "0123456789" for letter in "abcdefghijklmnopqrstuvwxyz"]
STANDARD = WORD.findall("""
    array asyncio binascii collections errno gc hashlib io json math os random select socket ssl struct sys time types
""")
# What only MicroPython's modules have, and its classes of hardware.
HARDWARE = set(
    WORD.findall("""
        ADC I2C PWM Pin RTC SPI Timer UART WDT WLAN active any config connect const country cpu crypt deinit disconnect encrypt
        decrypt feed freq hostname idle ifconfig init inv ioctl ipconfig ipoll irq isconnected kbd_intr lightsleep mem_alloc mem_free
        mount mode modify network off on out_buf ph_key pm poll print_exception qstr_info readblocks register reset reset_cause rxbuf
        scan schedule send sleep_ms status threshold ticks_add ticks_diff ticks_ms ticks_us toggle trigger txdone umount unique_id
        unregister value writeblocks
    """)
)


def standard() -> set[str]:
    """Return what the standard library's modules and classes define, as far as CPython tells."""
    modules = [builtins, *(importlib.import_module(name) for name in STANDARD)]
    found = {name for module in modules for name in dir(module)}
    classes = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    found |= {name for one in classes for name in dir(one)} | HARDWARE
    return {name for name in found if not name.startswith("_") or name.endswith("_")}
