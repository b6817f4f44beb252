"""The audit log."""

from fastapi import APIRouter, Request, Response

from broker.gateway.book import audit
from broker.gateway.http import paging
from broker.gateway.http.bodies import EntryBody, Page, stamp
from broker.gateway.http.paging import After, Limit
from broker.gateway.http.scopes import ForAdmin
from broker.gateway.http.serving import Here

router = APIRouter(tags=["tokens"])


@router.get("/audit")
def listed(
    here: Here, caller: ForAdmin, request: Request, response: Response, after: After = None, limit: Limit = paging.LIMIT
) -> Page[EntryBody]:
    """List which token asked what, the oldest first; the last 200,000 requests are kept."""
    found, more = here.book.read(audit.page, paging.place(after), limit)
    items = [EntryBody(**vars(entry) | {"at": stamp(entry.at)}) for entry in found]
    return Page(items=items, next=paging.link(request, response, more))
