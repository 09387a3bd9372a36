"""A page without a notebook: one widget served by Voila, for people who have no Python.

Safe by default: the server listens on this machine alone, asks for a token, shows no code, loads
nothing from elsewhere and serves no file; the page's folder holds nothing but the page. A browser
gets what widgets send; it may not run code (Voila lets through messages of widgets only). Each
visitor has a kernel of one's own, guarded: it ends with the server, however that ends, and some
time after the visitor is gone.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import secrets
import socket
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sportskills_lib.runs import artifacts
from sportskills_lib.runs.notebooks import KERNEL, guarded_kernel

CULL_S = 300  # a kernel that nobody is connected to ends after so long without work
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src "
    "'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src data: blob:; font-src 'self' data:; connect-src "
    "'self' ws: wss:; "
    "worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'; "
    "object-src 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # the link holds the token; no-referrer would spoil the form that asks for it
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

OPEN = "others reach this address, and nothing is encrypted: put it behind TLS, or use a tunnel"


def token_of(path: Path) -> str:
    """The secret in a file that only its owner reads, made when there is none: links outlive a
    restart.
    """
    if not path.is_file():
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(secrets.token_urlsafe(24) + "\n")
    found = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,128}", found):
        raise ValueError(
            f"{path} contains no valid token: remove it, a new one is made (links then change)"
        )
    return found


def key_of(secret: str, name: str) -> str:
    """The key of one visitor, which tells nothing of another's. The secret stands in no link, as
    the token does.
    """
    return hmac.new(secret.encode(), name.encode(), "sha256").hexdigest()[:24]


def address(ip: str, port: int, token: str, **query: str) -> str:
    """The link to the page; of one that listens everywhere, by this machine's name."""
    host = socket.gethostname() if ip in ("0.0.0.0", "::") else f"[{ip}]" if ":" in ip else ip
    more = "".join(f"&{name}={quote(value, safe='')}" for name, value in query.items())
    return f"http://{host}:{port}/?token={token}{more}"


def is_loopback(ip: str) -> bool:
    """Whether only this machine reaches the address; ValueError for what is no address."""
    return ip == "localhost" or ipaddress.ip_address(ip).is_loopback


def check_port(ip: str, port: int) -> None:
    """ValueError where the address is none or the port is taken, before anything is prepared."""
    is_loopback(ip)
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        socket.create_server((ip, port), family=family).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(
            f"--port {port} of {ip} is not available ({why}): choose another"
        ) from None


def write_page(folder: Path, code: str, title: str) -> Path:
    """A notebook of one cell, ``code``, in ``folder``."""
    import nbformat

    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    book.metadata = {
        "kernelspec": {"name": KERNEL, "display_name": title, "language": "python"},
        "title": title,
    }
    path = folder / "page.ipynb"
    nbformat.write(book, path)
    return path


def settings(ip: str, port: int, token: str, page: Path, *, cull_s: int = CULL_S) -> dict[str, Any]:
    """Voila's configuration: what it is told, and nothing from files that lie about."""
    return {
        "Voila": {
            "ip": ip,
            "port": port,
            "port_retries": 0,
            "token": token,
            "open_browser": False,
            "root_dir": str(page.parent),
            "connection_dir_root": str(page.parent.parent),
            "config_file_paths": [],
            "log_level": "WARN",
            "tornado_settings": {"headers": HEADERS, "allow_remote_access": not is_loopback(ip)},
        },
        "VoilaConfiguration": {
            "strip_sources": True,
            "show_tracebacks": False,
            "allow_template_override": "NO",
            "theme": "light",
            "allow_theme_override": "NO",
            "file_allowlist": [r"(?!)"],
            "preheat_kernel": False,
            "template": "lab",
        },
        "MappingKernelManager": {
            "cull_idle_timeout": cull_s,
            "cull_interval": max(1, min(30, cull_s // 2)),
            "cull_connected": False,
            "cull_busy": False,
        },
        "VoilaExecutor": {"startup_timeout": 180},
        "IdentityProvider": {"cookie_options": {"samesite": "Strict"}},
    }


def serve(
    code: str,
    *,
    title: str,
    ip: str,
    port: int,
    log: Path,
    token: str | None = None,
    say: Callable[[], None] | None = None,
    cull_s: int = CULL_S,
) -> None:
    """Serve the widget that ``code`` (one line of Python) ends with, until interrupted.

    ``token``: of the link, by default a new one. ``say`` is called just before, by default to print
    the link. What kernels print goes to ``log``.
    """
    check_port(ip, port)
    token = token or secrets.token_urlsafe(24)
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sportskills-page-") as folder:
        inner = Path(folder) / "page"
        inner.mkdir()
        page = write_page(inner, code, title)
        with guarded_kernel(artifacts.workspace().resolve(), log.resolve()):
            # Widgets ask whether somebody is looking; Voila does not name a session as JupyterLab
            # does.
            os.environ["JPY_SESSION_NAME"] = "page"
            os.environ["OMP_NUM_THREADS"] = "1"
            link = partial(print, address(ip, port, token), flush=True)
            _run(settings(ip, port, token, page, cull_s=cull_s), page, say or link)


def _run(config: dict[str, Any], page: Path, say: Callable[[], None]) -> None:
    from traitlets.config import Config
    from voila.app import Voila

    sys.argv = sys.argv[:1]
    server = Voila(config=Config(config))
    server.initialize([str(page)])
    say()
    if config["Voila"]["tornado_settings"]["allow_remote_access"]:
        print(OPEN, file=sys.stderr)
    server.start()
