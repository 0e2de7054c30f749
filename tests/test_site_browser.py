"""The site's pages in a real browser (conftest.py): sorted, filtered, dark, on a phone."""

import pytest
from synthetic_runs import make_run

from leaderboards.site import build_site

pytestmark = pytest.mark.browser


def test_every_page_opens_without_a_complaint(page, browsed):
    for path in sorted(browsed.glob("*.html")):
        page.goto(path.as_uri())
        assert page.locator("h1").count() == 1
        if path.name.startswith("samples-"):
            page.locator("#cards > li").first.wait_for()


def test_a_table_is_sorted_by_its_headers(page, browsed):
    page.goto((browsed / "index.html").as_uri())
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


def test_columns_of_words_are_sorted_too(page, browsed):
    page.goto((browsed / "index.html").as_uri())
    heads = page.locator("table.sortable thead th").all_text_contents()
    for number, head in enumerate(heads):
        button = page.locator("table.sortable thead button").nth(number)
        button.click()
        button.click()
        texts = page.locator(f"table.sortable tbody tr > :nth-child({number + 1})")
        first, last = texts.first.inner_text(), texts.last.inner_text()
        button.click()
        assert (texts.first.inner_text(), texts.last.inner_text()) == (last, first), head


def test_rows_are_filtered(page, browsed):
    page.goto((browsed / "published.html").as_uri())
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


def test_the_theme_can_be_switched(page, browsed):
    page.emulate_media(color_scheme="light")
    page.goto((browsed / "index.html").as_uri())
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Switch").click()
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


@pytest.mark.parametrize("name", ["index.html", "board-mini-overview.html", "published.html"])
def test_a_phone_needs_no_sideways_scrolling(page, browsed, name):
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto((browsed / name).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_gallery_is_one_step_from_the_index_and_shows_its_pictures(page, browsed):
    page.goto((browsed / "index.html").as_uri())
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
