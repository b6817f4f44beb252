"""Results for whoever holds a result key, from any machine: no private key, no database.

`Access` is what a reader holds, `Reader` authenticates and opens what a broker hands out, without
any I/O, and `follow` and `latest` get it there.
"""

from broker.client.access import Access, ClientError
from broker.client.following import follow, latest
from broker.client.reader import Reader
from broker.client.results import QueryResult, Result, RoundResult

__all__ = ["Access", "ClientError", "QueryResult", "Reader", "Result", "RoundResult", "follow", "latest"]
