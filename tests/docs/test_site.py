"""The built site: links, what it asks of the network, and a walk in a real browser."""

from __future__ import annotations

import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from docs.pages import DOCS, text_of

pytestmark = pytest.mark.slow

ASKED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
}
"""What a browser fetches by itself."""


class Page(HTMLParser):
    """Links, anchors and resources of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.fetched: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        self.anchors |= {about.get("id") or "", about.get("name") or ""}
        if tag == "a" and about.get("href"):
            self.links.append(str(about["href"]))
        wanted = about.get(ASKED.get(tag, ""))
        if wanted and about.get("rel") != "canonical":
            self.fetched.append(wanted)


@pytest.fixture(scope="module")
def read(site) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_page_is_built(site):
    for path in [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]:
        name = path.relative_to(DOCS).with_suffix(".html")
        assert (site / name).is_file(), name


def test_every_link_and_anchor_is_there(read):
    for path, page in read.items():
        for link in page.links + page.fetched:
            if urlsplit(link).scheme or path.name == "404.html":
                continue
            target, anchor = urldefrag(urljoin(path.as_uri(), link))
            file = Path(unquote(urlsplit(target).path))
            assert file.is_file(), f"{path.name}: {link}"
            if anchor and file in read:
                named = read[file].anchors
                assert unquote(anchor) in named, f"{path.name}: {link}"


def test_nothing_is_asked_of_the_network(site, read):
    for path, page in read.items():
        for name in page.fetched:
            assert not urlsplit(name).scheme.startswith("http"), f"{path.name}: {name}"
            assert not name.startswith("//")
    for sheet in site.rglob("*.css"):
        assert not re.search(
            r"(url\(|@import)\s*['\"]?(https?:)?//", sheet.read_text("utf-8")
        )


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra docs")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if None in {chromium, driver} and not os.environ.get("NAPARI_WSOL_BROWSER"):
        pytest.skip("no chromium, or no chromedriver: NAPARI_WSOL_BROWSER forbids it")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.add_argument("--window-size=1366,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    found = webdriver.Chrome(options=options, service=service)
    yield found
    found.quit()


def complaints(browser) -> list[str]:
    """What the console said since it was asked last."""
    return [
        line["message"]
        for line in browser.get_log("browser")
        if line["level"] in {"SEVERE", "WARNING"}
    ]


def in_navigation(browser, site) -> list[str]:
    from selenium.webdriver.common.by import By

    browser.get((site / "index.html").as_uri())
    links = browser.find_elements(By.CSS_SELECTOR, ".md-nav--primary a[href]")
    return sorted({urldefrag(link.get_attribute("href"))[0] for link in links})


def test_every_page_opens_without_a_complaint(browser, site):
    from selenium.webdriver.common.by import By

    pages = in_navigation(browser, site)
    assert len(pages) > 30
    for page in pages:
        browser.get(page)
        assert browser.find_element(By.CSS_SELECTOR, "article h1").text, page
        pictures = browser.execute_script(
            "return [...document.images].filter(i => i.complete && !i.naturalWidth)"
            ".map(i => i.src)"
        )
        assert pictures == [], page
        assert complaints(browser) == [], page


def test_search_finds_the_words_of_the_glossary(browser, site):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    words = re.findall(r"^(\S.*)\n:   ", text_of("concepts/glossary.md"), re.MULTILINE)
    assert len(words) > 40
    browser.get((site / "index.html").as_uri())
    field = browser.find_element(By.CSS_SELECTOR, ".md-search__input")
    field.click()
    said = browser.find_element(By.CSS_SELECTOR, ".md-search-result__meta")
    wait = WebDriverWait(browser, 20)
    field.send_keys("qxzzyx")
    wait.until(lambda _: said.text == "No matching documents")
    for word in words:
        field.clear()
        field.send_keys(word)
        wait.until(lambda _, word=word: marked(browser, word), word)
    assert complaints(browser) == []


def marked(browser, word: str) -> bool:
    """Whether a result shows what was typed: words are found by their stems."""
    script = (
        "return [...document.querySelectorAll('.md-search-result mark')]"
        ".map(mark => mark.textContent.toLowerCase())"
    )
    return any(text[:3] == word.lower()[:3] for text in browser.execute_script(script))


@pytest.mark.parametrize(("dark", "scheme"), [(False, "default"), (True, "slate")])
def test_light_and_dark_follow_the_system(browser, site, dark, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {
            "features": [
                {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            ]
        },
    )
    browser.get((site / "index.html").as_uri())
    body = "return document.body.getAttribute('data-md-color-scheme')"
    assert browser.execute_script(body) == scheme


def test_a_phone_shows_no_page_wider_than_itself(browser, site):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    wide = "return document.documentElement.scrollWidth"
    for page in in_navigation(browser, site):
        browser.get(page)
        assert browser.execute_script(wide) <= 390, page
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
