"""A link that does not come: a radio that is dead and says that it is not, a lack of memory under
all its names, and what tells them from a broker that is switched off."""

from agent.runtime.flash.store import Store
from agent.runtime.net.mqtt_socket import Untrusted, is_shortage, is_sign, why
from agent.runtime.net.unlinked import JOIN_S, RECYCLE_S, RESET_S, Unlinked
from agent.runtime.net.wifi import JOIN, RECYCLE
from tests.support.files_at_hand import Folder

STEP_S = 30


class Client:
    signs = 0
    bytes_received = 0


class Wifi:
    def __init__(self):
        self.there = True
        self.asked = []

    def joined(self):
        return self.there

    def revive(self, how):
        self.asked.append(how)


def life(store, client, wifi, most_s=20000, each=lambda: None):
    """Seconds without a link after which the board is reset, None for not within `most_s`."""
    mine = Unlinked(client, wifi, store)
    for passed in range(STEP_S, most_s, STEP_S):
        each()
        if mine.passed(STEP_S):
            return passed
    return None


def test_a_dead_radio_is_joined_again_then_switched_and_then_the_board_is_reset():
    with Folder() as folder:
        wifi = Wifi()
        assert life(Store(folder), Client(), wifi, RESET_S - STEP_S) is None
        assert wifi.asked == [JOIN] + [RECYCLE] * (RESET_S // RECYCLE_S - 1) and JOIN_S < RECYCLE_S
        assert life(Store(folder), Client(), Wifi()) == RESET_S


def test_each_reset_that_did_not_help_doubles_the_time_to_the_next_up_to_two_hours():
    with Folder() as folder:
        found = [life(Store(folder), Client(), Wifi()) for _ in range(6)]
        assert found == [900, 1800, 3600, 7200, 7200, 7200]
        Unlinked(Client(), Wifi(), Store(folder)).over()
        assert life(Store(folder), Client(), Wifi()) == 900


def test_what_the_network_carries_is_a_sign_of_life():
    for field in ("signs", "bytes_received"):
        with Folder() as folder:
            wifi, client = Wifi(), Client()

            def each(client=client, field=field):
                setattr(client, field, getattr(client, field) + 1)

            assert life(Store(folder), client, wifi, 20000, each) is None and wifi.asked == []


def test_a_network_that_is_not_joined_is_the_wifis_own_task():
    with Folder() as folder:
        wifi = Wifi()
        wifi.there = False
        assert life(Store(folder), Client(), wifi) is None and wifi.asked == []


def test_memory_that_ran_out_has_many_names():
    for error in (
        MemoryError("memory allocation failed"),
        OSError(12),
        OSError(12, "ENOMEM"),
        OSError(105),
        OSError(23),
        OSError(-32512, "MBEDTLS_ERR_SSL_ALLOC_FAILED"),
        OSError(-32512),
        OSError(-17040, "MBEDTLS_ERR_RSA_PUBLIC_FAILED+MBEDTLS_ERR_MPI_ALLOC_FAILED"),
        OSError(-17040),
        OSError(-0x2880),
        OSError(-0x4D80),
        OSError(-0x3F80),
        OSError(-141),
    ):
        assert is_shortage(error) and why(error, False) == "memory" and not is_sign(error), error
    for error in (OSError(-2), OSError(113), OSError(-0x7780), OSError(-16), OSError(), ValueError(12), EOFError()):
        assert not is_shortage(error), error


def test_what_the_other_end_does_is_told_from_silence():
    for error in (OSError(111), OSError(104), EOFError(), Untrusted(False), OSError(-0x7780)):
        assert is_sign(error), error
    for error in (OSError(-2), OSError(113), OSError(110), OSError("host"), RuntimeError("x")):
        assert not is_sign(error), error
    assert why(OSError(113), False) == "connect-failed" and why(EOFError(), True) == "link-lost"
    assert why(Untrusted(True), False) == "not-yet-valid" and why(ZeroDivisionError(), True) == "internal-error"
