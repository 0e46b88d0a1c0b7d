"""Security: who may look. The page shows names, tracebacks and addresses of somebody's programs.

A browser's user visits other pages too, and any of them can send requests to this machine. Three things keep them out:

* Host: a page of a stranger's can have its name resolve to 127.0.0.1 (DNS rebinding). So without a token the Host of a
  request must be this machine's loopback, the address that was listened at, or a name given by --allowed-hosts.
* Origin: a WebSocket may be opened from any page. So an Origin must be that of the request's own Host, or one of the
  allowed hosts'.
* A token, where others than this machine's users can connect: in the query once (it becomes a cookie), or as a Bearer.

And what is sent forbids scripts, styles and connections from anywhere but here (Content-Security-Policy), so that a
text of a stranger's that were taken for HTML could not run.

Rule 1: decisions are pure functions of headers; the middleware only asks them.
Rule 2: secrets are compared in constant time.
Not here: TLS. Whoever needs it puts a proxy in front (docs/ui.md).
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

QUERY = "token"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Guard:
    """`token` is empty where none is asked for."""

    listens_at: str
    token: str = ""
    allowed_hosts: frozenset[str] = frozenset()

    @classmethod
    def make(cls, host: str, token: str | None, allowed_hosts: tuple[str, ...]) -> "Guard":
        """For a page that listens at this host. Beyond loopback there is a token in any case."""
        if not token and not is_loopback(host):
            token = secrets.token_urlsafe(24)
        return cls(host.lower(), token or "", frozenset(name.lower() for name in allowed_hosts))

    @property
    def cookie(self) -> str:
        """Its name: cookies belong to a host, not to a port, and two pages of one host have two tokens."""
        return f"scaler_ui_{hashlib.sha256(self.token.encode()).hexdigest()[:8]}"

    def why_not(self, headers: Mapping[str, str], given: str = "") -> tuple[int, str] | None:
        """Status and sentence for a request that is refused; None: it may come in. `given` is its token."""
        host = headers.get("Host", "")
        origin = headers.get("Origin")
        if self.token and not hmac.compare_digest(given.encode(), self.token.encode()):
            return 401, "this page wants a token: open the address that scaler_ui has logged, which contains it"
        if not self.token and not self._is_known(name_of(host)):
            return 403, (
                f"{name_of(host)[:100]!r} is no name of this machine's loopback: open the page as localhost, or start "
                "scaler_ui with --allowed-hosts and this name"
            )
        if origin is not None and not self._is_same(origin, host):
            return 403, f"pages of {origin[:100]!r} may not use this one"
        return None

    def _is_known(self, name: str) -> bool:
        return name in LOOPBACK or name == self.listens_at or name in self.allowed_hosts

    def _is_same(self, origin: str, host: str) -> bool:
        parts = urlsplit(origin)
        return parts.netloc.lower() == host.lower() or (parts.hostname or "") in self.allowed_hosts


def is_loopback(host: str) -> bool:
    """Whether only this machine's users get there."""
    return host.lower() in LOOPBACK or host.startswith("127.")


def name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def token_of(request: web.Request, cookie: str) -> str:
    """What a request brings to be let in."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    return request.query.get(QUERY) or request.cookies.get(cookie, "")


def middleware(guard: Guard) -> Middleware:
    """Asks the guard about every request, and puts HEADERS into every answer."""

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = guard.why_not(request.headers, token_of(request, guard.cookie))
        if refused is not None:
            response: web.StreamResponse = web.Response(status=refused[0], text=refused[1] + "\n", headers=HEADERS)
        elif QUERY in request.query and request.path == "/":
            response = _to_cookie(guard)
        else:
            response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    return ask


def _to_cookie(guard: Guard) -> web.Response:
    """Keep the token in a cookie, out of the address bar and the browser's history."""
    response = web.Response(status=303, headers={"Location": "./"})
    if guard.token:
        response.set_cookie(guard.cookie, guard.token, httponly=True, samesite="Strict")
    return response
