"""Telegrams of P1 are cut out of what a line brings, whatever comes before, between and in them."""

from agent.meters.dsmr import TELEGRAM_MOST, parse_telegram
from agent.meters.dsmr_frames import Telegrams
from host_sim.meters.made import LINES, p1
from tests.agent.meters.test_dsmr import telegram, telegram_file
from tests.support.framed import cut, frames


def test_telegrams_are_cut_out_of_a_stream_however_it_comes():
    new, old = telegram_file("dsmr-5.0"), telegram_file("dsmr-2.2")
    stream = b"noise" + new[400:] + new + old + b"\r\n\x00" + old + new[:100] + new + b"/begun"
    lost = 5 + len(new) - 400 + 3 + 100
    for size in (1, 7, 64, 256, len(stream)):
        assert frames(Telegrams(), cut(stream, size)) == ([new, old, old, new], lost), size


def test_a_telegram_that_does_not_end_is_given_up():
    good = telegram(["1-0:1.8.1(1*kWh)"])
    for size in (1, 64, 9000):
        found, lost = frames(Telegrams(), cut(b"/" + b"x" * 5000 + b"\n" + good, size))
        assert (found, lost) == ([good], 5002), size
    whole = b"/" + b"x" * (TELEGRAM_MOST - 5) + b"\n!\r\n"
    assert frames(Telegrams(), [whole[:-2] + b"\n", good]) == ([whole[:-2] + b"\n", good], 0)
    assert frames(Telegrams(), [whole.replace(b"\n!", b"x\n!"), good]) == ([good], TELEGRAM_MOST + 1)


def test_a_telegram_behind_one_that_grew_too_long_is_found():
    good = p1(LINES)
    for start in (100, 3000, 4000):
        stream = b"/XXX5" + b"y" * start + good[:60] + b"z" * 300 + b"\n" + b"w" * (4000 - start) + b"\n" + good
        for size in (1, 64, 9000):
            assert frames(Telegrams(), cut(stream, size))[0] == [good], (start, size)


def test_the_signs_of_a_frame_may_stand_in_a_text():
    for text in ("2023/05", "/", "/ABC5", "a/ABC5\\METER", "Hello!", "!", "see /TST5!"):
        for checksum in ("%04X", "%x", "x25"):
            data = p1(
                LINES + ["0-0:96.13.0(%s)" % text, "0-0:96.13.1(30", "!no end", "/no head", "30)"], checksum=checksum
            )
            assert frames(Telegrams(), cut(b"x" + data + data, 50)) == ([data, data], 1), text


def test_what_is_cut_off_hides_nothing_that_follows():
    good = p1(LINES)
    for size in range(1, len(good), 7):
        assert frames(Telegrams(), cut(good[:size] + good, 33)) == ([good], size), size
    old = telegram_file("dsmr-2.2")
    found, lost = frames(Telegrams(), [old[:100], old, old])  # without a checksum nothing tells where it begins
    assert (found, lost) == ([old], 100 + len(old))


def test_what_follows_a_telegram_is_no_matter():
    for noise in (b"\0" * 20 + b"\xff" * 30, b"\x03\x04", b" 25803103\r\n"):
        assert frames(Telegrams(), [p1(LINES) + noise, p1(LINES)]) == ([p1(LINES)] * 2, len(noise))


def test_lines_end_as_they_like():
    for eol in ("\r\n", "\n", "\r\r\n"):
        data = p1(LINES, eol=eol, end=eol)
        assert frames(Telegrams(), [data]) == ([data], 0) and parse_telegram(data).totals["load"] == 512000


def test_the_framer_holds_a_bounded_number_of_bytes():
    framer = Telegrams()
    for _ in range(200):
        assert framer.feed(b"x" * 100) is None
        assert framer.feed(b"/" + b"y" * 99) is None
        assert framer.feed(b"\n/ABC5" + b"y" * 99) is None
        assert len(framer._buffer) == TELEGRAM_MOST and not framer._rest
