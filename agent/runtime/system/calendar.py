"""Days and hours, for the machine's real-time clock."""


def calendar(seconds: int) -> tuple[int, int, int, int, int, int, int, int]:
    """(year, month, day, weekday, hour, minute, second, 0) in UTC of Unix seconds, 0 to LATEST;
    Monday is weekday 0.

    time.gmtime counts from 2000 on some boards, and takes no more than 31 bits on others.
    """
    days, rest = divmod(seconds, 86400)
    year = 1970
    while days >= _year_days(year):
        days -= _year_days(year)
        year += 1
    weekday = (seconds // 86400 + 3) % 7  # 1970-01-01 was a Thursday
    month = 1
    for length in (31, _year_days(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31):
        if days < length:
            break
        days -= length
        month += 1
    return year, month, days + 1, weekday, rest // 3600, rest // 60 % 60, rest % 60, 0


def _year_days(year: int) -> int:
    return 366 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 365
