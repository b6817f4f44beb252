"""The scripts of tests/faults can be loaded: a name that moves breaks this, and not only
`make faults`, which takes minutes.

What a script looks up when it runs only `make faults` finds.
"""

from importlib import import_module

import pytest

from tests.faults.__main__ import faults


def test_there_are_scripts_of_both_kinds() -> None:
    assert {name.split(".")[0] for name in faults()} == {"attacks", "field"}


@pytest.mark.parametrize("name", faults())
def test_a_script_loads_and_has_its_fault(name: str) -> None:
    assert callable(import_module(f"tests.faults.{name}").fault)
