"""What the examination says of a chat server."""

from __future__ import annotations

import pytest
from chat_server import Reply, chat_server

from sportskills_lib.runs.doctor import _chat


def test_the_chat_server_is_named_only_where_one_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert (_chat().remedy, "not set" in _chat().value) == ("", True)
    with chat_server(lambda request, number: Reply()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert (_chat().remedy, "answers" in _chat().value) == ("", True)
    assert _chat().remedy
    monkeypatch.setenv("OPENAI_BASE_URL", "file:///etc")
    assert "no http address" in _chat().remedy
