"""The page in a real browser: decide by key and by mouse, undo, reload; stages apply it."""

import re
import shutil
import signal
import subprocess
import sys

import pytest

from darkroom.labels.decisions import REVIEW
from stages import clean, dedupe
from tests.harness import PATIENCE_S, tool_environment
from tests.review.stores import HOSTILE, develop

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROME = next(filter(None, map(shutil.which, NAMES)), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROME and DRIVER),
    reason="no browser here: install chromium and its driver (apt install chromium-driver)",
)
FLAGS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
    "disable-background-networking", "disable-component-update", "disable-sync",
    "window-size=1300,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROME
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


class Page:
    """The page as a person uses it."""

    def __init__(self, browser, root, address):
        self.browser, self.file = browser, root / REVIEW
        browser.get("about:blank")
        browser.get(address)
        self.wait(lambda: self.find(".item"))

    def wait(self, condition):
        ignored = [StaleElementReferenceException]  # the page has replaced it meanwhile
        waiting = WebDriverWait(self.browser, PATIENCE_S, 0.05, ignored_exceptions=ignored)
        return waiting.until(lambda _: condition())

    def find(self, css):
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def press(self, *keys):
        for key in keys:
            webdriver.ActionChains(self.browser).send_keys(key).perform()

    def open(self, kind):
        self.find(f"#kind-{kind}")[0].click()
        self.wait(lambda: self.find(f"#items[data-kind={kind}] .item"))

    def click(self, name, act):
        """Click on the button of an image, which is found by its name."""

        def click():
            images = [i for i in self.find(".image") if i.find_elements(By.XPATH, named)]
            images[0].find_element(By.CSS_SELECTOR, f"button.{act}").click()
            return True

        named = f".//*[@class='name' and text()='{name}']"
        self.wait(click)

    def rows(self):
        if not self.file.exists():
            return []
        return [line.split(",") for line in self.file.read_text().splitlines()[1:]]

    def decided(self, *rows):
        """Wait until the file holds exactly these rows."""
        wanted = sorted([key, other, *rest, "", ""][:4] for key, other, *rest in rows)
        try:
            self.wait(lambda: sorted(row[:4] for row in self.rows()) == wanted)
        except Exception as error:
            raise AssertionError(f"expected {wanted}, got {self.rows()}") from error


@pytest.fixture
def page(chrome, store):
    process = subprocess.Popen(
        [sys.executable, "-m", "darkroom", "review", "--no-browser"],
        cwd=store[0],
        env=tool_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    words = process.stderr.readline()
    try:
        yield Page(chrome, store[0], re.search(r"http://\S+", words)[0])
        trouble = [e for e in chrome.get_log("browser") if e["level"] == "SEVERE"]
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE_S)[1]
    assert trouble == []
    assert process.returncode == 0, said
    assert "Traceback" not in said


def pair(keys, a, b):
    return sorted((keys[a], keys[b]))


def test_the_keyboard_alone_decides_undoes_and_survives_a_reload(page, store):
    keys = store[1]
    alpha, beta = (pair(keys, f"{name}.png", f"{name} copy.png") for name in ("alpha", "beta"))
    first, second = [alpha, beta] if "alpha" in page.find(".item h2")[0].text else [beta, alpha]
    page.press("d")
    page.decided([*first, "not_duplicate"])
    page.wait(lambda: "now" in page.find(".item")[1].get_attribute("class"))
    page.press(Keys.ENTER)
    page.decided([*first, "not_duplicate"], [*second, "duplicate"])
    page.press("u")
    page.decided([*first, "not_duplicate"])
    page.press("u")
    page.decided()
    page.press("U")
    page.decided([*first, "not_duplicate"])
    page.browser.refresh()
    page.wait(lambda: page.find(".pill.mine"))
    assert page.find(".pill.mine")[0].text == "you: not a duplicate"
    assert page.find(".item .tick")[0].text == "✓ decided"
    page.press("u")
    page.decided()
    page.wait(lambda: not page.find(".pill.mine"))


def test_the_mouse_decides_and_the_stages_apply_it(page, store):
    root, keys = store
    before = develop(root, dedupe)
    assert before.loc["alpha copy.png", "status"] == "rejected"
    wanted = []

    def decided(*row):
        wanted.append(row)
        page.decided(*wanted)

    page.click("alpha copy.png", "apart")
    decided(*pair(keys, "alpha.png", "alpha copy.png"), "not_duplicate")
    page.click("beta.png", "reject")
    decided(keys["beta.png"], "", "reject")
    page.open("conflicts")
    page.find(".records button")[1].click()
    decided(keys["gamma 1.png"], "", "label", "dog")
    page.open("leaks")
    page.click("leak/train.png", "keep")
    decided(keys["leak/train.png"], "", "keep")
    page.open("rejected")
    page.click("tiny.png", "keep")
    decided(keys["tiny.png"], "", "keep")
    assert not page.find(f"[data-key='{keys['broken.png']}'] button.keep")[0].is_enabled()
    page.open("decided")
    assert len(page.find(".item")) == len(wanted)

    after = develop(root, clean, dedupe)
    kept = after[after["status"] == "kept"].index
    assert {"alpha.png", "alpha copy.png", "beta copy.png", "gamma 1.png", "tiny.png"} <= set(kept)
    assert {"leak/train.png", "leak/test.png"} <= set(kept)
    assert after.loc["beta.png", ["status", "reason"]].tolist() == ["rejected", "review"]
    page.browser.refresh()
    page.wait(lambda: page.find(".item"))
    page.find("#kind-conflicts")[0].click()
    page.wait(lambda: page.find("#empty:not([hidden])"))

    page.file.write_text("key,other,decision,value,note\n")
    assert develop(root, clean, dedupe).equals(before)


def test_a_typed_label_is_saved_and_names_of_strangers_stay_text(page, store):
    keys = store[1]
    page.open("rejected")
    page.find("#query")[0].send_keys("onerror")
    page.wait(lambda: page.find(".item") and all(HOSTILE in i.text for i in page.find(".item")))
    assert page.browser.title == "Darkroom · review"
    assert page.browser.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    page.find("#query")[0].clear()
    page.find("#query")[0].send_keys("alpha")
    page.open("copies")
    page.wait(lambda: len(page.find(".item")) == 1)
    page.find(".image .name")[0].click()
    page.press("l")
    field = page.find(".edit input")[0]
    field.clear()
    field.send_keys("=1+1", Keys.ENTER)
    page.decided([keys["alpha.png"], "", "label", "'=1+1"])
    page.wait(lambda: page.find(".pill.mine"))
    assert page.find(".pill.mine")[0].text == "you: =1+1"


def test_pictures_are_shown_and_broken_ones_are_not_asked_for(page):
    page.wait(lambda: page.find(".thumbnail img"))
    loaded = "[...document.querySelectorAll('.thumbnail img')].every((i) => i.naturalWidth > 0)"
    page.wait(lambda: page.browser.execute_script(f"return {loaded}"))
    page.press(" ")
    page.wait(lambda: len(page.find("#large[open] img")) == 2)
    page.press(Keys.ESCAPE)
    page.wait(lambda: not page.find("#large[open]"))
    page.open("rejected")
    texts = [thumbnail.text for thumbnail in page.find(".thumbnail.none")]
    assert texts == ["No picture: truncated"]
