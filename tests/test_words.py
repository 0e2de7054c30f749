"""Settings of commands: what is there, what is known, and what is said otherwise."""

import pytest

from x2vlm.cli.words import below, listed, on_error, split_words, take, whole, yes
from x2vlm.errors import ConfigError


def test_words_and_settings_are_told_apart_by_the_sign() -> None:
    assert split_words(["a", "x=1", "b", "y=c=d", "z="], "xyz") == (
        ["a", "b"],
        {"x": "1", "y": "c=d", "z": ""},
    )


def test_a_path_with_the_sign_is_a_word() -> None:
    assert split_words(["runs/lr=1e-4", "./a=b", "out=x/y=z"], ["out"]) == (
        ["runs/lr=1e-4", "./a=b"],
        {"out": "x/y=z"},
    )


def test_an_unknown_setting_is_refused_with_what_was_meant() -> None:
    take({"out": "x"}, "out", "allow")
    with pytest.raises(ConfigError, match="did you mean 'allow'"):
        take({"alow": "x"}, "out", "allow")


def test_settings_of_a_group_are_taken_out() -> None:
    settings = {"file.val": "a.json", "split": "val", "file.images": "b"}
    assert below(settings, "file.") == {"val": "a.json", "images": "b"}
    assert settings == {"split": "val"}


def test_lists_numbers_and_switches_are_read_or_named() -> None:
    settings = {"names": "a,,b", "n": "12", "on": "True", "off": "no", "bad": "-1"}
    assert listed(settings, "names") == ("a", "b")
    assert listed(settings, "absent") == ()
    assert listed({"names": "[de, ru]"}, "names") == ("de", "ru")
    assert listed(settings, "names", "letter", iter("abc")) == ("a", "b")
    with pytest.raises(ConfigError, match="unknown letter 'b'"):
        listed(settings, "names", "letter", "a")
    assert (whole(settings, "n"), whole(settings, "absent", 7)) == (12, 7)
    with pytest.raises(ConfigError, match="bad is a whole number from 0, not '-1'"):
        whole(settings, "bad")
    assert yes(settings, "on", False)
    assert yes(settings, "absent", True)
    with pytest.raises(ConfigError, match="off is true or false, not 'no'"):
        yes(settings, "off", True)


def test_bad_rows_are_an_error_or_skipped_and_nothing_else() -> None:
    assert on_error({}) == "raise"
    assert on_error({"on_error": "skip"}) == "skip"
    with pytest.raises(ConfigError, match="on_error is raise or skip, not 'ignore'"):
        on_error({"on_error": "ignore"})
