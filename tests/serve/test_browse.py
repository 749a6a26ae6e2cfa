"""The local page: what it answers, to whom, and that a browser draws it."""

import http.client
import json
import shutil
import subprocess
from threading import Thread
from urllib.parse import urlencode

import pytest
import torch

from recbole_ssr.errors import UserError
from recbole_ssr.serve.browse import Browser
from recbole_ssr.serve.server import BrowseServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


@pytest.fixture(scope="module")
def server(recommender):
    with BrowseServer(Browser(recommender()), 0) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, path, host=None, **values):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", f"{path}?{urlencode(values)}", headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if answer.getheader("Content-Type") == (
        "application/json") else body


def test_it_listens_on_this_machine_alone_and_to_its_names_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, "/")[0] == 200
    assert ask(server, "/api/about", f"localhost:{server.server_port}")[0] == 200
    for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1"):
        assert ask(server, "/api/about", host)[0] == 403
    with pytest.raises(UserError, match="--port"):
        BrowseServer(server.browser, server.server_port)


def test_a_user_s_history_and_recommendations(server, recommender):
    status, about = ask(server, "/api/about")
    assert status == 200 and about["bands"] == ["low", "mid", "high"]
    assert about["modalities"] == ["id", "image", "text"]
    users = ask(server, "/api/users", start="u3")[1]
    assert len(users) == 11 and all(user.startswith("u3") for user in users)
    _, result = ask(server, "/api/user", user="u5")
    expected = recommender().recommend("u5", 20)
    assert [entry["item"] for entry in result["recommended"]] == expected["item"].tolist()
    assert all(entry["moved"] == 0 for entry in result["recommended"])
    assert len(result["history"]) == 8
    assert all(entry["title"] == f"Thing {entry['item'][1:]}" for entry in result["history"]
               if entry["item"] != "i23")


def test_moved_bands_change_the_ranking_as_the_model_does(server, recommender):
    model = recommender().experiment.model
    _, result = ask(server, "/api/user", user="u5", bands="0,1,2", modalities="1,0.5,1")
    user, item = model.encode(torch.outer(torch.tensor([0.0, 1, 2]), torch.tensor([1, 0.5, 1])))
    scores = user[recommender().catalogue.user_id("u5")] @ item.T
    for entry in result["recommended"]:
        assert entry["score"] == pytest.approx(
            scores[recommender().catalogue.item_id(entry["item"])].item(), rel=1e-4)
    ranks = [entry["rank"] for entry in result["recommended"]]
    assert ranks == list(range(1, len(ranks) + 1))
    assert any(entry["moved"] for entry in result["recommended"])


def test_why_and_mistakes(server, recommender):
    best = recommender().recommend("u5", 1)["item"][0]
    status, why = ask(server, "/api/why", user="u5", item=best)
    assert status == 200 and why["rank"] == 1
    for path, values, word in [("/api/user", {"user": "nobody"}, "nobody"),
                               ("/api/user", {}, "user"),
                               ("/api/user", {"user": "u5", "bands": "1,2"}, "3 factors"),
                               ("/api/user", {"user": "u5", "bands": "1,x"}, "numbers"),
                               ("/api/why", {"user": "u5", "item": "../x"}, "no item")]:
        status, answer = ask(server, path, **values)
        assert status == 400 and word in answer["error"]
    assert ask(server, "/picture", item=best)[0] == 404  # it has none
    assert ask(server, "/etc/passwd")[0] == 404


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_draws_the_page(server, recommender, tmp_path):
    best = recommender().recommend("u5", 1)["item"][0]
    picture = tmp_path / "page.png"
    url = server.url + "?" + urlencode({"user": "u5", "item": best})
    base = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={tmp_path}/u", "--virtual-time-budget=8000",
            "--window-size=1400,1100"]
    drawn = subprocess.run([*base, "--dump-dom", url], capture_output=True, text=True, timeout=300)
    assert "Recommended" in drawn.stdout and "for user u5? Rank 1" in drawn.stdout
    assert drawn.stdout.count('class="rank"') == 16 and "the user's own embedding" in drawn.stdout
    subprocess.run([*base, f"--screenshot={picture}", url], check=True, timeout=300)
    assert picture.stat().st_size > 10_000
