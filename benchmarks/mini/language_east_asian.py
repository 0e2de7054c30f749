"""Japanese and Chinese: particles, classifiers, no agreement."""

from __future__ import annotations

from benchmarks.mini.language import Language
from benchmarks.mini.world import Thing


class Japanese(Language):
    """Modifiers before the noun; i-adjectives and nouns with の; the verb comes last."""

    code = "ja"
    stop = "。"
    nouns = {
        "ball": "ボール",
        "cube": "立方体",
        "cone": "円錐",
        "star": "星",
        "heart": "ハート",
        "ring": "リング",
        "cross": "十字",
        "moon": "月",
        None: "物",
    }
    adjectives = {
        "red": "赤い",
        "green": "緑の",
        "blue": "青い",
        "yellow": "黄色い",
        "orange": "オレンジ色の",
        "purple": "紫の",
        "white": "白い",
        "black": "黒い",
        "striped": "しま模様の",
        "dotted": "水玉模様の",
        "checked": "チェック柄の",
        "small": "小さい",
        "big": "大きい",
        "matte": "つや消しの",
        "shiny": "ぴかぴかの",
        "new": "新しい",
        "old": "古い",
        "heavy": "重い",
        "expensive": "高価な",
    }
    relations = {"left": "{b}の左", "right": "{b}の右", "above": "{b}の上", "below": "{b}の下"}
    grounds = {"grass": "草の上", "sand": "砂の上", "water": "水の上", "road": "道路の上"}
    moves = {"left": "左へ", "right": "右へ", "up": "上へ", "down": "下へ"}
    joints = ("、", "と")
    templates = {
        "list": ("{all}があります", "{all}の絵です", "{all}が見えます", "{all}"),
        "list_ground": (
            "{ground}に{all}があります",
            "{ground}の{all}",
            "{all}が{ground}にあります",
        ),
        "relation": ("{a}は{rel}にあります", "{rel}に{a}があります", "{rel}にある{a}"),
        "count": ("{a:0.noun}が{n}あります", "{a}が見えます"),
        "q_colour": ("{a}は何色ですか？", "{a}の色は何ですか？"),
        "q_pattern": ("{a}はどんな模様ですか？", "{a}の模様は何ですか？"),
        "q_what": ("{rel}にある物は何ですか？", "{rel}には何がありますか？"),
        "q_exists": ("{a}はありますか？", "{a}が見えますか？"),
        "q_is": ("{a}は{value}ですか？",),
        "q_relation": ("{a}は{rel}にありますか？",),
        "q_count": ("{a}はいくつありますか？", "{a}は何個ありますか？"),
        "q_choose": ("{a}は{value}ですか、それとも{other}ですか？",),
        "s_left": ("左の写真に{a}があります", "左の写真には{a}が写っています"),
        "s_right": ("右の写真に{a}があります", "右の写真には{a}が写っています"),
        "s_both": ("両方の写真に{a}があります", "どちらの写真にも{a}があります"),
        "s_one": ("片方の写真だけに{a}があります",),
        "s_sides": ("左の写真には{a}、右の写真には{b}があります",),
        "is": ("{a}は{value}です",),
        "not": ("{a}はありません", "{a}は見えません"),
        "moves": ("{a}が{move}動きます", "{a}が{move}動いています"),
        "hits": ("{a}が{b}にぶつかります",),
    }

    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Number, modifiers, noun; case "noun" leaves the number to the verb."""
        words = "".join(self.adjectives[value] for value in thing.words())
        counted = thing.count > 1 and not plural and case != "noun"
        return (self.number(thing) + "の" if counted else "") + words + self.nouns[thing.shape]

    def predicate(self, value: str, thing: Thing) -> str:
        """I-adjectives stay; の and な fall away."""
        word = self.adjectives[value]
        return word if word.endswith("い") else word[:-1]

    def number(self, thing: Thing) -> str:
        """Native numerals with the general counter."""
        return ("一つ", "二つ", "三つ", "四つ")[thing.count - 1]


class Chinese(Language):
    """Numeral and classifier by noun; size stands next to the noun; 的 after the other modifiers."""

    code = "zh"
    stop = "。"
    nouns = {
        "ball": ("个", "球"),
        "cube": ("个", "立方体"),
        "cone": ("个", "圆锥"),
        "star": ("颗", "星星"),
        "heart": ("颗", "爱心"),
        "ring": ("枚", "圆环"),
        "cross": ("个", "十字"),
        "moon": ("轮", "月亮"),
        None: ("个", "东西"),
    }
    adjectives = {
        "red": "红色",
        "green": "绿色",
        "blue": "蓝色",
        "yellow": "黄色",
        "orange": "橙色",
        "purple": "紫色",
        "white": "白色",
        "black": "黑色",
        "striped": "条纹",
        "dotted": "圆点",
        "checked": "格子",
        "small": "小",
        "big": "大",
        "matte": "哑光",
        "shiny": "闪亮",
        "new": "新",
        "old": "旧",
        "heavy": "重",
        "expensive": "贵",
    }
    relations = {
        "left": "{b:*}的左边",
        "right": "{b:*}的右边",
        "above": "{b:*}的上面",
        "below": "{b:*}的下面",
    }
    grounds = {"grass": "草地上", "sand": "沙地上", "water": "水面上", "road": "马路上"}
    moves = {"left": "左", "right": "右", "up": "上", "down": "下"}
    joints = ("、", "和")
    templates = {
        "list": ("{all:i}", "图中有{all:i}", "这里有{all:i}", "可以看到{all:i}"),
        "list_ground": ("{ground}有{all:i}", "{ground}的{all:i}", "可以看到{ground}有{all:i}"),
        "relation": ("{a:i}在{rel:i}", "{rel:i}有{a:i}", "图中{a:i}在{rel:i}"),
        "count": ("图中有{a:i}", "可以看到{a:i}"),
        "q_colour": ("{a:d}是什么颜色的？", "{a:d}的颜色是什么？"),
        "q_pattern": ("{a:d}是什么图案的？", "{a:d}有什么图案？"),
        "q_what": ("{rel:d}是什么？", "{rel:d}有什么东西？"),
        "q_exists": ("图中有{a:0}吗？", "有没有{a:0}？"),
        "q_is": ("{a:d}是{value}吗？",),
        "q_relation": ("{a:d}在{rel:d}吗？",),
        "q_count": ("图中有几{a:how}？", "一共有多少{a:how}？"),
        "q_choose": ("{a:d}是{value}还是{other}？",),
        "s_left": ("左图中有{a:i}", "左边的图里有{a:i}"),
        "s_right": ("右图中有{a:i}", "右边的图里有{a:i}"),
        "s_both": ("两张图中都有{a:i}", "每张图里都有{a:i}"),
        "s_one": ("只有一张图中有{a:i}",),
        "s_sides": ("左图中有{a:i}，右图中有{b:i}",),
        "is": ("{a:d}是{value}",),
        "not": ("图中没有{a:0}", "这里没有{a:0}"),
        "moves": ("{a:i}向{move}移动", "{a:i}正在向{move}移动"),
        "hits": ("{a:i}撞上了{b:i}", "{a:i}碰到了{b:i}"),
    }

    def phrase(self, thing: Thing, article: str, case: str, plural: bool) -> str:
        """Numeral and classifier (unless bare), material, colour and pattern, size, noun.

        Definite phrases take 这 and the classifier; case "how" has the classifier alone, as after
        几.
        """
        classifier, noun = self.nouns[thing.shape]
        said = self.adjectives
        look = "".join(said[value] for value in (thing.colour, thing.pattern) if value)
        words = f"{said[thing.material]}的" if thing.material else ""
        words += look + ("的" if look and not words else "")
        words += (said[thing.size] if thing.size else "") + noun
        if case == "how":
            return classifier + words
        if article == "i":
            return self.number(thing) + words
        return f"这{classifier}{words}" if article == "d" else words

    def predicate(self, value: str, thing: Thing) -> str:
        """Adjective with 的."""
        return self.adjectives[value] + "的"

    def number(self, thing: Thing) -> str:
        """Numeral and the noun's classifier; two is 两."""
        return "一两三四"[thing.count - 1] + self.nouns[thing.shape][0]


LANGUAGES = {"ja": Japanese(), "zh": Chinese()}
