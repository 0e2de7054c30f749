"""The site in a real browser: Debian's chromium, from disk, with every request watched."""

import shutil
import time

import pytest
from explanations import study
from synthetic_runs import NASTY, SCORERS, make_run

from leaderboards.site import build_site

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="needs chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    runs = [
        make_run(task, folder, n=60, seed=seed, skill=skill)
        for task in SCORERS
        if task != "captioning"
        for seed, skill in ((1, 0.5), (2, 0.8))
    ]
    study(folder / "explained")
    build_site(runs, folder / "out", gallery=[folder / "explained"])
    return folder / "out"


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    """A page that fails its test on any console message of trouble or request beyond the disk."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(15_000)
    faults = []
    opened.on("console", lambda m: m.type in ("error", "warning") and faults.append(m.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "requestfailed", lambda r: "ABORTED" in r.failure or faults.append(f"failed: {r.url}")
    )
    opened.on("request", lambda r: r.url.startswith(("file:", "data:")) or faults.append(r.url))
    opened.on("dialog", lambda dialog: (faults.append("a dialog opened"), dialog.dismiss()))
    yield opened
    opened.close()
    assert faults == []


def samples(out, name, query=""):
    (path,) = out.glob(f"samples-mini-{name}-*.html")
    return f"{path.as_uri()}#{query}"


def counted(page, text):
    page.wait_for_function(
        "text => document.getElementById('found').textContent === text", arg=text
    )


def cards(page):
    return page.locator("#cards > li")


def test_every_page_opens_without_a_complaint(page, out):
    for path in sorted(out.glob("*.html")):
        page.goto(path.as_uri())
        assert page.locator("h1").count() == 1
        if path.name.startswith("samples-"):
            cards(page).first.wait_for()


def test_a_table_is_sorted_by_its_headers(page, out):
    page.goto((out / "index.html").as_uri())
    column = page.locator("table.sortable tbody tr td:nth-child(6)")
    button = page.get_by_role("button", name="value")

    def values():
        return [float(text) for text in column.all_text_contents()]

    before = values()
    button.click()
    assert values() == sorted(before, reverse=True)
    assert page.locator("th[aria-sort=descending]").count() == 1
    button.focus()
    page.keyboard.press("Enter")
    assert values() == sorted(before)
    assert page.locator("th[aria-sort=ascending]").count() == 1


def test_columns_of_words_are_sorted_too(page, out):
    page.goto((out / "index.html").as_uri())
    heads = page.locator("table.sortable thead th").all_text_contents()
    for number, head in enumerate(heads):
        button = page.locator("table.sortable thead button").nth(number)
        button.click()
        button.click()
        texts = page.locator(f"table.sortable tbody tr > :nth-child({number + 1})")
        first, last = texts.first.inner_text(), texts.last.inner_text()
        button.click()
        assert (texts.first.inner_text(), texts.last.inner_text()) == (last, first), head


def test_rows_are_filtered(page, out):
    page.goto((out / "published.html").as_uri())
    assert page.locator("#count").inner_text() == "1900 of 1900 rows"
    page.get_by_label("state").select_option("memory")
    assert page.locator("#count").inner_text() == "31 of 1900 rows"
    assert page.locator("#published tbody tr:visible").count() == 31


def test_a_board_is_filtered_by_model_size_data_and_protocol(page, tmp_path):
    base = "base  of two spaces "
    models = {"tiny": (1_800_000, "4M", "fine-tuned"), base: (255_000_000, "1B", "zero-shot")}
    runs = [
        make_run("answering", tmp_path, n=3, name=name.strip(), protocol=protocol,
                 model={"name": name, "parameters": size, "pretraining": data})
        for name, (size, data, protocol) in models.items()
    ]  # fmt: skip
    build_site(runs, tmp_path / "out")
    page.goto((tmp_path / "out" / "board-mini-overview.html").as_uri())
    count, rows = page.locator("#count"), page.locator("#board tbody tr:visible")
    for name, kept in (("model", base), ("size", "255000000"), ("data", "1B")):
        chooser = page.locator(f"select[data-rows={name}]")
        chooser.select_option(kept)
        assert count.inner_text() == "1 of 2 rows"
        assert rows.locator("th").inner_text() == "base of two spaces"
        chooser.select_option("")
        assert count.inner_text() == "2 of 2 rows"
    heads = page.locator("#board thead th[data-protocol]:visible")
    assert heads.count() == 2
    page.locator("select[data-columns=protocol]").select_option("zero-shot")
    assert heads.count() == 1
    assert "zero-shot" in heads.inner_text()


def turned_to(page, text):
    page.wait_for_function(
        "text => document.querySelector('.place').textContent === text", arg=text
    )


def test_samples_are_paged_above_and_below_the_cards(page, out):
    page.goto(samples(out, "vqav2"))
    counted(page, "60 of 60 samples")
    assert cards(page).count() == 24
    first = cards(page).first.inner_text()
    above, below = page.get_by_role("button", name="next →").all()
    below.click()
    turned_to(page, "page 2 of 3")
    assert cards(page).first.inner_text() != first
    page.wait_for_function(
        "() => document.getElementById('found').getBoundingClientRect().top >= 0"
    )
    above.focus()
    page.keyboard.press("Enter")
    turned_to(page, "page 3 of 3")
    assert cards(page).count() == 12
    assert above.is_disabled()
    assert below.is_disabled()
    assert "previous" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    turned_to(page, "page 2 of 3")


def test_samples_are_filtered_by_outcome_tag_language_length_and_text(page, out):
    page.goto(samples(out, "vqav2"))
    counted(page, "60 of 60 samples")
    page.get_by_label("kind").select_option("number")
    counted(page, "20 of 60 samples")
    page.get_by_label("language").select_option("de")
    counted(page, "4 of 60 samples")
    page.goto(samples(out, "vqav2", "outcome=wrong"))
    cards(page).first.wait_for()
    wrong = int(page.locator("#found").inner_text().split()[0])
    assert cards(page).locator(".badge.wrong").count() == min(wrong, 24)
    assert cards(page).locator(".badge.right").count() == 0
    page.goto(samples(out, "vqav2", "outcome=right"))
    counted(page, f"{60 - wrong} of 60 samples")
    page.goto(samples(out, "vqav2", "q=thing+17"))
    counted(page, "1 of 60 samples")
    page.goto(samples(out, "vqav2", "max=4"))
    counted(page, "1 of 60 samples")


def test_two_runs_side_by_side_show_what_flipped(page, out):
    page.goto(samples(out, "refcoco_plus"))
    counted(page, "60 of 60 samples")
    page.get_by_label("compare with").select_option("1")
    page.get_by_label("outcome").select_option("gained")
    page.wait_for_function("() => document.querySelectorAll('#cards h3.second').length > 0")
    gained = cards(page)
    assert gained.count() > 0
    for card in gained.all():
        assert "wrong" in card.locator("h3.first .badge").text_content()
        assert "right" in card.locator("h3.second .badge").text_content()
    assert gained.first.locator("rect.truth").count() == 1
    assert gained.first.locator("rect.second").count() == 1
    total = int(page.locator("#found").inner_text().split()[0])
    for name in ("lost", "both right", "both wrong"):
        page.get_by_label("outcome").select_option(name)
        page.wait_for_function(f"() => location.hash.includes('{name.replace(' ', '+')}')")
        page.wait_for_timeout(100)
        total += int(page.locator("#found").inner_text().split()[0])
    assert total == 60


def test_a_link_leads_to_one_sample_and_keys_move_on(page, out):
    page.goto(samples(out, "coco_retrieval", "id=61"))
    dialog = page.locator("dialog")
    dialog.wait_for()
    assert dialog.locator(".id").inner_text() == "t1"
    assert dialog.locator(".ranked img").count() == 6
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('dialog .id').textContent === 't2'")
    assert "id=62" in page.url
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('dialog').open")
    assert "id=" not in page.url
    page.go_back()
    page.wait_for_function("() => document.querySelector('dialog').open")


def test_closing_a_sample_leads_back_to_where_it_was_opened(page, out):
    page.goto(samples(out, "vqav2"))
    opener = page.get_by_role("button", name="open sample 7", exact=True)
    opener.focus()
    page.keyboard.press("Enter")
    page.locator("dialog .text").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('dialog').open")
    assert opener.evaluate("button => button === document.activeElement")


def test_texts_carry_their_language_and_direction(page, out):
    page.goto(samples(out, "vqav2", "f.language=de"))
    cards(page).first.wait_for()
    assert page.locator(".said[lang=de][dir=auto]").count() == 12


def test_a_missing_file_is_named(browser, out, tmp_path):
    shutil.copytree(out, tmp_path / "out")
    for path in tmp_path.glob("out/data/mini-nlvr2-*/run1.js"):
        path.unlink()
    opened = browser.new_page()
    opened.goto(samples(tmp_path / "out", "nlvr2", "b=1"))
    opened.locator("#found.trouble").wait_for()
    assert "run1.js is missing; write the site again" in opened.locator("#found").inner_text()
    opened.close()


def test_markup_in_a_caption_is_shown_as_text(page, out):
    page.goto(samples(out, "vqav2", "id=0"))
    page.locator("dialog .said").wait_for()
    assert page.locator("dialog .said").inner_text() == NASTY
    assert page.locator("main script, main img[src=x]").count() == 0


def test_a_wrong_address_shows_the_first_run(page, out):
    page.goto(samples(out, "nlvr2", "a=99&b=x&p=1000&id=-3&outcome=odd"))
    counted(page, "60 of 60 samples")
    turned_to(page, "page 3 of 3")
    page.get_by_role("button", name="previous").first.click()
    turned_to(page, "page 2 of 3")
    page.goto(samples(out, "nlvr2", "p=x&id=1.5"))
    turned_to(page, "page 1 of 3")
    assert not page.locator("dialog").is_visible()


def test_the_theme_can_be_switched(page, out):
    page.emulate_media(color_scheme="light")
    page.goto((out / "index.html").as_uri())
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Switch").click()
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("name", ["index.html", "board-mini-overview.html", "published.html"])
def test_a_phone_needs_no_sideways_scrolling(page, out, name):
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto((out / name).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_samples_fit_a_phone(page, out):
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(samples(out, "ovad", "id=3"))
    page.locator("dialog .text").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_25000_samples_stay_quick(page, tmp_path):
    run = make_run("answering", None, n=25_000)
    build_site([run], tmp_path / "out")
    started = time.monotonic()
    page.goto(samples(tmp_path / "out", "vqav2"))
    counted(page, "25,000 of 25,000 samples")
    page.get_by_label("outcome").select_option("wrong")
    page.wait_for_function(
        "() => !document.getElementById('found').textContent.startsWith('25,000')"
    )
    assert cards(page).count() == 24
    assert time.monotonic() - started < 10
    assert page.locator("script").count() < 120


def test_the_gallery_is_one_step_from_the_index_and_shows_its_pictures(page, out):
    page.goto((out / "index.html").as_uri())
    page.get_by_role("link", name="Where the model looks").click()
    page.wait_for_selector("h1:has-text('Where the model looks')")
    assert page.locator(".maps img").count() > 6
    page.locator(".maps img").last.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.maps img')].at(-1).naturalWidth > 0"
    )
    assert "<i>x" in page.locator(".study h2").inner_text()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
