"""The samples in a real browser (conftest.py): paged, filtered, one alone, two runs."""

import shutil
import time

import pytest
from synthetic_runs import NASTY, make_run

from leaderboards.site import build_site

pytestmark = pytest.mark.browser


def samples(browsed, name, query=""):
    (path,) = browsed.glob(f"samples-mini-{name}-*.html")
    return f"{path.as_uri()}#{query}"


def counted(page, text):
    page.wait_for_function(
        "text => document.getElementById('found').textContent === text", arg=text
    )


def cards(page):
    return page.locator("#cards > li")


def turned_to(page, text):
    page.wait_for_function(
        "text => document.querySelector('.place').textContent === text", arg=text
    )


def test_samples_are_paged_above_and_below_the_cards(page, browsed):
    page.goto(samples(browsed, "vqav2"))
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


def test_samples_are_filtered_by_outcome_tag_language_length_and_text(page, browsed):
    page.goto(samples(browsed, "vqav2"))
    counted(page, "60 of 60 samples")
    page.get_by_label("kind").select_option("number")
    counted(page, "20 of 60 samples")
    page.get_by_label("language").select_option("de")
    counted(page, "4 of 60 samples")
    page.goto(samples(browsed, "vqav2", "outcome=wrong"))
    cards(page).first.wait_for()
    wrong = int(page.locator("#found").inner_text().split()[0])
    assert cards(page).locator(".badge.wrong").count() == min(wrong, 24)
    assert cards(page).locator(".badge.right").count() == 0
    page.goto(samples(browsed, "vqav2", "outcome=right"))
    counted(page, f"{60 - wrong} of 60 samples")
    page.goto(samples(browsed, "vqav2", "q=thing+17"))
    counted(page, "1 of 60 samples")
    page.goto(samples(browsed, "vqav2", "max=4"))
    counted(page, "1 of 60 samples")


def test_two_runs_side_by_side_show_what_flipped(page, browsed):
    page.goto(samples(browsed, "refcoco_plus"))
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


def test_a_link_leads_to_one_sample_and_keys_move_on(page, browsed):
    page.goto(samples(browsed, "coco_retrieval", "id=61"))
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


def test_closing_a_sample_leads_back_to_where_it_was_opened(page, browsed):
    page.goto(samples(browsed, "vqav2"))
    opener = page.get_by_role("button", name="open sample 7", exact=True)
    opener.focus()
    page.keyboard.press("Enter")
    page.locator("dialog .text").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("() => !document.querySelector('dialog').open")
    assert opener.evaluate("button => button === document.activeElement")


def test_texts_carry_their_language_and_direction(page, browsed):
    page.goto(samples(browsed, "vqav2", "f.language=de"))
    cards(page).first.wait_for()
    assert page.locator(".said[lang=de][dir=auto]").count() == 12


def test_a_missing_file_is_named(browser, browsed, tmp_path):
    shutil.copytree(browsed, tmp_path / "out")
    for path in tmp_path.glob("out/data/mini-nlvr2-*/run1.js"):
        path.unlink()
    opened = browser.new_page()
    opened.goto(samples(tmp_path / "out", "nlvr2", "b=1"))
    opened.locator("#found.trouble").wait_for()
    assert "run1.js is missing; write the site again" in opened.locator("#found").inner_text()
    opened.close()


def test_markup_in_a_caption_is_shown_as_text(page, browsed):
    page.goto(samples(browsed, "vqav2", "id=0"))
    page.locator("dialog .said").wait_for()
    assert page.locator("dialog .said").inner_text() == NASTY
    assert page.locator("main script, main img[src=x]").count() == 0


def test_a_wrong_address_shows_the_first_run(page, browsed):
    page.goto(samples(browsed, "nlvr2", "a=99&b=x&p=1000&id=-3&outcome=odd"))
    counted(page, "60 of 60 samples")
    turned_to(page, "page 3 of 3")
    page.get_by_role("button", name="previous").first.click()
    turned_to(page, "page 2 of 3")
    page.goto(samples(browsed, "nlvr2", "p=x&id=1.5"))
    turned_to(page, "page 1 of 3")
    assert not page.locator("dialog").is_visible()


def test_samples_fit_a_phone(page, browsed):
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(samples(browsed, "ovad", "id=3"))
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
