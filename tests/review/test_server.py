"""The server without a browser: who is let in, what is refused, what thousands of groups cost."""

import asyncio
import json

import pytest
from aiohttp import DummyCookieJar
from aiohttp.test_utils import TestClient, TestServer

from benchmarks.review import write_groups
from darkroom.core import tables
from darkroom.images import previews
from darkroom.images.formats import sniff
from darkroom.labels.decisions import REVIEW, read_decisions
from darkroom.review.history import History
from darkroom.review.server import MAX_BODY_BYTES, ReviewSession
from tests.harness import damage
from tests.review.stores import params_of


class Visitor:
    """Asks as a browser with our page would, unless answer otherwise."""

    def __init__(self, client, review):
        self.client, self.review = client, review
        self.home = f"http://127.0.0.1:{review.port}"

    async def ask(self, method, path, body=None, **headers):
        """Return (status, answer, headers); a header of None is left out."""
        usual = {"X-Token": self.review.token, "Host": self.home[7:]}
        if method != "GET":
            usual["Origin"] = self.home
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in (usual | given).items() if value is not None}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self.client.request(method, path, data=data, headers=sent) as answer:
            content = await answer.read()
            if answer.content_type == "application/json":
                content = json.loads(content)
            return answer.status, content, answer.headers

    async def decide(self, *rows, **headers):
        return await self.ask("POST", "/api/decide", {"decisions": rows, "where": "x"}, **headers)

    async def items(self, **query):
        words = "&".join(f"{name}={value}" for name, value in query.items())
        status, answer, _ = await self.ask("GET", f"/api/items?{words}")
        assert status == 200, answer
        return answer


@pytest.fixture
def visit(store):
    """Return a function that runs a coroutine with a Visitor of the store, or of another root."""

    def run(story, root=store[0]):
        async def serve():
            review = ReviewSession(root, params_of(root), History(root / REVIEW))
            jar = DummyCookieJar()  # the stories say themselves which cookie they send
            async with TestClient(TestServer(review.application()), cookie_jar=jar) as client:
                review.port = client.port
                return await story(Visitor(client, review))

        return asyncio.run(serve())

    return run


EVIL = "http://evil.example"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        pytest.param("GET", "/", {}, 200, id="the page"),
        pytest.param("GET", "/api/items", {}, 200, id="items"),
        pytest.param("GET", "/", {"Host": "evil.example"}, 421, id="page for another host"),
        pytest.param("GET", "/api/items", {"Host": "127.0.0.1"}, 421, id="host without port"),
        pytest.param("GET", "/api/items", {"Host": "127.0.0.1:80@evil"}, 421, id="odd host"),
        pytest.param("GET", "/api/items", {"Origin": EVIL}, 403, id="another origin"),
        pytest.param("POST", "/api/undo", {"Origin": EVIL}, 403, id="a change from elsewhere"),
        pytest.param("POST", "/api/undo", {"Origin": "null"}, 403, id="a sandboxed frame"),
        pytest.param("POST", "/api/undo", {"Origin": None}, 403, id="a change from nowhere"),
        pytest.param("GET", "/api/items", {"Sec_Fetch_Site": "cross-site"}, 403, id="cross-site"),
        pytest.param("GET", "/api/items", {"Sec_Fetch_Site": "same-site"}, 403, id="other port"),
        pytest.param("GET", "/api/items", {"X_Token": None}, 401, id="no token"),
        pytest.param("GET", "/api/items", {"X_Token": "0" * 43}, 401, id="a wrong token"),
        pytest.param("GET", "/api/items", {"X_Token": "é"}, 401, id="an odd token"),
        pytest.param("POST", "/api/session", {"X_Token": None}, 401, id="a session without token"),
        pytest.param("GET", "/picture/" + "0" * 32, {}, 401, id="a picture without cookie"),
        pytest.param("GET", "/api/decide", {}, 405, id="a change by GET"),
        pytest.param("DELETE", "/api/items", {}, 405, id="no such method"),
        pytest.param("GET", "/params.yaml", {}, 404, id="a file of ours"),
        pytest.param("GET", "/../server.py", {}, 404, id="a path above"),
        pytest.param("GET", "/%2e%2e/server.py", {}, 404, id="an encoded path above"),
        pytest.param("GET", "/picture/..%2f..%2fparams.yaml", {}, 401, id="above the pictures"),
        pytest.param("GET", "/api/items?kind=nonsense", {}, 400, id="no such kind"),
        pytest.param("GET", "/api/items?limit=1000", {}, 400, id="too large a page"),
        pytest.param("GET", "/api/items?start=-1", {}, 400, id="a negative start"),
        pytest.param("GET", "/api/items?start=%C2%B2", {}, 400, id="no decimal digit"),
        pytest.param("GET", "/api/items?query=" + "x" * 201, {}, 400, id="a long search"),
        pytest.param("GET", "/api/item?id=copies:abc", {}, 404, id="no such item"),
    ],
)
def test_who_is_let_in(visit, method, path, headers, status):
    async def story(visitor):
        found, answer, sent = await visitor.ask(method, path, **headers)
        assert found == status, answer
        assert sent["X-Content-Type-Options"] == "nosniff"
        assert "script-src 'self'" in sent["Content-Security-Policy"]
        assert status == 200 or answer["error"]

    visit(story)


A, B = "a" * 32, "b" * 32


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"no json", 400),
        (b"\xff", 400),
        ([], 400),
        ({"decisions": []}, 400),
        ({"decisions": ["keep"]}, 400),
        ({"decisions": [{"key": "../x", "decision": "keep"}]}, 400),
        ({"decisions": [{"key": A, "decision": "destroy"}]}, 400),
        ({"decisions": [{"key": A, "clear": "everything"}]}, 400),
        ({"decisions": [{"key": A, "decision": "keep"}]}, 404),
        ({"decisions": [{"key": A, "other": B, "decision": "duplicate"}]}, 404),
        (b" " * (MAX_BODY_BYTES + 1), 413),
        ({"decisions": [{"key": A, "decision": "keep"}] * 1001}, 400),
    ],
)
def test_bad_decisions_change_nothing(visit, store, body, status):
    async def story(visitor):
        found, answer, _ = await visitor.ask("POST", "/api/decide", body)
        assert (found, "error" in answer) == (status, True)

    visit(story)
    assert not (store[0] / REVIEW).exists()


def test_what_does_not_decode_cannot_be_kept_and_scores_lie_on_the_scale(visit, store):
    keys = store[1]

    async def story(visitor):
        status, answer, _ = await visitor.decide({"key": keys["broken.png"], "decision": "keep"})
        assert (status, "does not decode" in answer["error"]) == (409, True)
        score = {"key": keys["alpha.png"], "decision": "mean", "value": "11"}
        status, answer, _ = await visitor.decide(score)
        assert (status, "1 to 10" in answer["error"]) == (400, True)

    visit(story)


def test_decisions_are_on_disk_before_the_answer_and_undone_step_by_step(visit, store):
    root, keys = store
    alpha, copy = keys["alpha.png"], keys["alpha copy.png"]

    async def story(visitor):
        await visitor.decide({"key": alpha, "decision": "keep"})
        assert read_decisions(root).keep == {alpha}
        both = [{"key": copy, "decision": "reject"},
                {"key": copy, "other": alpha, "decision": "duplicate"}]  # fmt: skip
        _, answer, _ = await visitor.decide(*both)
        assert (answer["undo"], answer["counts"]["copies"]["decided"]) == (2, 1)
        assert read_decisions(root).duplicate == {tuple(sorted((alpha, copy)))}
        _, answer, _ = await visitor.ask("POST", "/api/undo")
        assert (answer["where"], answer["undo"], answer["redo"]) == ("x", 1, 1)
        assert (read_decisions(root).reject, read_decisions(root).keep) == (set(), {alpha})
        await visitor.ask("POST", "/api/redo")
        assert read_decisions(root).reject == {copy}
        await visitor.decide({"key": alpha, "clear": "status"})
        assert read_decisions(root).keep == set()
        _, answer, _ = await visitor.ask("POST", "/api/redo")
        assert answer["where"] is None

    visit(story)


def test_what_another_program_writes_meanwhile_is_neither_lost_nor_overwritten(visit, store):
    root, keys = store

    async def story(visitor):
        await visitor.decide({"key": keys["alpha.png"], "decision": "keep"})
        with (root / REVIEW).open("a") as handle:
            handle.write(f"{A},,reject,,from elsewhere\n")
        await visitor.decide({"key": keys["beta.png"], "decision": "reject"})
        assert read_decisions(root).reject == {A, keys["beta.png"]}
        assert "from elsewhere" in (root / REVIEW).read_text()
        shown = await visitor.items(kind="decided")
        assert [i["images"][0]["known"] for i in shown["items"]].count(False) == 1
        (root / REVIEW).write_text("broken\n")
        status, answer, _ = await visitor.decide({"key": keys["beta.png"], "clear": "status"})
        assert (status, "line 1" in answer["error"]) == (409, True)
        assert (root / REVIEW).read_text() == "broken\n"

    visit(story)


def test_the_page_holds_every_kind_with_its_evidence(visit, store):
    keys = store[1]

    async def story(visitor):
        shown = {kind: (await visitor.items(kind=kind))["items"] for kind in
                 ("copies", "apart", "leaks", "conflicts", "rejected", "candidates")}  # fmt: skip
        assert len(shown["copies"]) == 2
        assert all(item["pairs"][0]["duplicate"] for item in shown["copies"])
        assert {"normalised", "ssim", "inliers", "decided_by"} <= set(
            shown["copies"][0]["pairs"][0]
        )
        apart = [image["label"] for item in shown["apart"] for image in item["images"]]
        assert sorted(apart) == ["cat", "dog"]
        leak = shown["leaks"][0]["images"]
        assert [(i["key"], i["split"]) for i in leak] == [
            (keys["leak/test.png"], "test"), (keys["leak/train.png"], "train"),
        ]  # fmt: skip
        assert [r["label"] for r in shown["conflicts"][0]["images"][0]["records"]] == ["cat", "dog"]
        reasons = {i["images"][0]["reason"]: i["settled"] for i in shown["rejected"]}
        assert reasons == {"too_small": False, "truncated": True}
        assert shown["candidates"]

    visit(story)


def test_search_filter_and_pages(visit, store):
    key = store[1]["alpha.png"]

    async def story(visitor):
        every = await visitor.items(kind="candidates", limit=50)
        assert len(every["items"]) == every["counts"]["candidates"]["total"]
        first = await visitor.items(kind="candidates", limit=1)
        second = await visitor.items(kind="candidates", limit=1, start=first["next"])
        ids = [item["id"] for item in first["items"] + second["items"]]
        assert ids == [item["id"] for item in every["items"][: len(ids)]]
        assert (first["earlier"], second["earlier"]) == (False, True)
        back = await visitor.items(kind="candidates", limit=1, start=first["next"], backwards=1)
        assert back["items"] == first["items"]
        copies = await visitor.items(kind="copies", query="BETA%20cop")
        assert [len(i["images"]) for i in copies["items"]] == [2]
        await visitor.decide({"key": copies["items"][0]["images"][1]["key"], "decision": "reject"})
        left = await visitor.items(kind="copies", undecided=1)
        assert len(left["items"]) == 1
        named = await visitor.items(kind="candidates", query=key)
        assert all(key in item["id"] for item in named["items"])
        at = await visitor.items(at=copies["items"][0]["id"], kind="rejected")
        assert at["items"][0]["id"] == copies["items"][0]["id"]

    visit(story)


def test_pictures_need_their_cookie_and_are_jpegs_or_nothing(visit, store):
    keys = store[1]

    async def story(visitor):
        _, answer, sent = await visitor.ask("POST", "/api/session")
        assert answer == {"token": visitor.review.token}
        assert "SameSite=Strict" in sent["Set-Cookie"]
        assert "HttpOnly" in sent["Set-Cookie"]
        cookie = sent["Set-Cookie"].split(";")[0]
        path = f"/picture/{keys['alpha.png']}"
        status, picture, sent = await visitor.ask("GET", path, Cookie=cookie)
        assert (status, picture[:3]) == (200, b"\xff\xd8\xff")
        assert sent["Cache-Control"].startswith("private")
        token = f"{cookie.split('=')[0]}={visitor.review.token}"
        assert (await visitor.ask("GET", path, Cookie=token))[0] == 401
        for other in (keys["broken.png"], A):
            assert (await visitor.ask("GET", f"/picture/{other}", Cookie=cookie))[0] == 404
        stolen = {"X_Token": cookie.split("=")[1]}
        assert (await visitor.ask("GET", "/api/items", **stolen))[0] == 401

    visit(story)


def test_the_address_that_opens_the_browser_is_good_once(visit):
    async def story(visitor):
        visitor.review.one_time_token = "once"
        status, answer, _ = await visitor.ask("POST", "/api/session", X_Token="once")
        assert (status, answer["token"]) == (200, visitor.review.token)
        assert (await visitor.ask("POST", "/api/session", X_Token="once"))[0] == 401

    visit(story)


def test_new_tables_are_shown_without_a_restart(visit, store):
    path = store[0] / "data/dedupe/groups.parquet"

    async def story(visitor):
        assert (await visitor.items())["counts"]["conflicts"]["total"] == 1
        groups = tables.read_table(path, tables.GROUPS)
        path.unlink()
        assert (await visitor.items())["counts"]["conflicts"]["total"] == 1
        tables.write_table(groups.assign(label_conflict=False), path, tables.GROUPS)
        assert (await visitor.items())["counts"]["conflicts"]["total"] == 0

    visit(story)


@pytest.fixture
def large(tmp_path):
    """Return a folder with the tables of 5,000 groups, 3 images each."""
    write_groups(tmp_path, 5_000)
    return tmp_path


def test_thousands_of_groups_come_page_by_page(visit, large):
    async def story(visitor):
        first = await visitor.items()
        assert (len(first["items"]), first["counts"]["copies"]["total"]) == (20, 5_000)
        last = await visitor.items(start=4_980)
        assert (len(last["items"]), last["next"]) == (20, None)
        found = await visitor.items(query="14999")
        assert found["items"][0]["images"][2]["records"][0]["name"] == "14999.png"
        copy = first["items"][0]["images"][1]["key"]
        status, answer, _ = await visitor.decide({"key": copy, "decision": "keep"})
        assert (status, answer["undo"]) == (200, 1)

    visit(story, large)


def test_a_picture_is_shown_small_and_large_and_a_broken_one_costs_itself_alone(visit, store):
    root, keys = store
    shown, broken, rejected = (keys[name] for name in ("alpha.png", "beta.png", "broken.png"))
    damage(root, previews.locate(root).loc[[broken]])

    async def story(visitor):
        cookie = f"{visitor.review.cookie}={visitor.review.picture_token}"
        asked = [f"{shown}", f"{shown}?large=1", broken, rejected, shown]
        answers = [await visitor.ask("GET", f"/picture/{name}", Cookie=cookie) for name in asked]
        assert [status for status, *_ in answers] == [200, 200, 404, 404, 200]
        assert all(sniff(content) == "JPEG" for status, content, _ in answers if status == 200)

    visit(story)
