"""Ten short factual pages, written by hand as people write them: 80 to 300 words, a heading, paragraphs, a list of links.

What differs is the layout, for that is what FineWeb's rules on lines look at.
"""

from __future__ import annotations

LINKS = (
    ("/", "Home"),
    ("/countries/", "All countries"),
    ("/cities/", "Cities"),
    ("/rivers/", "Rivers and lakes"),
    ("/about", "About us"),
    ("/privacy", "Privacy policy"),
)
NAVIGATION = "<ul>" + "".join(f'<li><a href="{path}">{name}</a></li>' for path, name in LINKS) + "</ul>"


def page(title: str, content: str, *, navigation: str = f"<nav>{NAVIGATION}</nav>", after: str = "") -> str:
    return (
        f"<!doctype html><html lang=en><head><title>{title}</title></head><body>{navigation}"
        f"<main><h1>{title}</h1>\n{content}</main>{after}<footer>© Atlas. Terms of use</footer></body></html>"
    )


def paragraphs(*texts: str) -> str:
    return "\n".join(f"<p>{text}</p>" for text in texts)


ICELAND = (
    "Iceland is an island country in the North Atlantic, between Greenland and Norway. About 390,000 "
    "people live there, which "
    "makes it one of the most thinly settled countries of Europe.",
    "The capital, Reykjavik, lies on the bay of Faxaflói in the south-west. Two of every three "
    "Icelanders live in the town and "
    "its suburbs. Steam from the ground heats nearly all of their houses.",
    "Icelandic is the language of the country. It has changed so little that children can read the "
    "sagas, which were written "
    "down in the thirteenth century. The money is the króna.",
    "Fish was long the only thing to sell abroad. Today aluminium, which needs the cheap power of the "
    "rivers, and visitors who "
    "come for the glaciers bring in more.",
)
BHUTAN = (
    "Bhutan lies in the eastern Himalaya, with China to the north and India on its other sides. Its "
    "people call it Druk Yul, "
    "the land of the thunder dragon.",
    "Thimphu has been the capital since 1961. It is said to be the only capital without a traffic light: "
    "a policeman in white "
    "gloves directs the cars at the main crossing.",
    "The ngultrum is the currency, and its value is that of the Indian rupee, which is taken everywhere too. The official "
    "language is Dzongkha, though schools teach in English.",
)
DANUBE = (
    "The Danube is the second longest river of Europe, after the Volga. It rises in the Black Forest, "
    "where two small streams "
    "meet at Donaueschingen, and reaches the Black Sea 2,850 kilometres further on.",
    "Ten countries have a share of its banks, more than any other river has. Four capitals stand on it: Vienna, Bratislava, "
    "Budapest and Belgrade. Since 1992 a canal has joined it to the Main, and so to the Rhine and the North Sea.",
    "Where it ends, the river splits into three arms. The delta between them is a maze of reeds and "
    "lakes in which more than "
    "three hundred kinds of birds have been counted.",
    "Large ships go up as far as Regensburg. Below the Iron Gates, a gorge between Serbia and Romania, "
    "two dams hold the water "
    "back and make electricity for both countries.",
)
CHAD = (
    "Chad is a country in the middle of Africa, as large as France and Spain and Germany together.",
    "Its capital is N'Djamena, on the Chari river.",
    "French and Arabic are official. More than a hundred other languages are spoken.",
    "The currency is the Central African CFA franc, which five neighbours use as well.",
    "Lake Chad, after which the country is named, has shrunk to a tenth of what it was in 1960. Most of "
    "its water comes from "
    "the south, and most of it is led off to fields before it arrives.",
)

PAGES: dict[str, str] = {
    # Prose under one heading; the navigation is marked as such.
    "plain": page("Iceland", paragraphs(*ICELAND)),
    # Subheadings of one to three words over each paragraph.
    "subheadings": page(
        "The Danube",
        "".join(
            f"<h2>{heading}</h2>{paragraphs(text)}"
            for heading, text in zip(
                ("Course", "Countries and capitals", "The delta", "Ships and power"), DANUBE, strict=True
            )
        ),
    ),
    # Few words: 5 sentences or fewer.
    "brief": page(
        "Bhutan",
        paragraphs(
            "Bhutan lies in the eastern Himalaya, with China to the north and India on its other sides, and its "
            "people, of whom "
            "there are about 780,000, call it Druk Yul, the land of the thunder dragon.",
            "Thimphu has been the capital since 1961, and it is said to be the only capital of the world without a traffic "
            "light, because the one that was put up was found too cold and was taken down again. The currency is the "
            "ngultrum, whose value is that of the Indian rupee.",
        ),
    ),
    # A table of facts before the prose, as an encyclopedia has.
    "fact_table": page(
        "Bhutan",
        "<table>"
        + "".join(
            f"<tr><th>{name}</th><td>{value}</td></tr>"
            for name, value in (
                ("Capital", "Thimphu"),
                ("Population", "780,000"),
                ("Area", "38,394 square kilometres"),
                ("Currency", "Ngultrum (BTN)"),
                ("Language", "Dzongkha"),
                ("Telephone code", "+975"),
                ("Internet domain", ".bt"),
                ("Neighbours", "China and India"),
            )
        )
        + "</table>"
        + paragraphs(*BHUTAN),
    ),
    # Two paragraphs, and a list of towns with a few words to each.
    "list_of_towns": page(
        "Towns of Iceland",
        paragraphs(*ICELAND[:2])
        + "<ul>"
        + "".join(
            f"<li>{town}</li>"
            for town in (
                "Kópavogur, a suburb",
                "Hafnarfjörður, built on lava",
                "Akureyri in the north",
                "Reykjanesbær, with the airport",
                "Selfoss on the Ölfusá",
                "Ísafjörður in the north-west",
                "Egilsstaðir in the east",
                "Vík, the southernmost village",
            )
        )
        + "</ul>",
    ),
    # Old-style markup: no <main>, lines broken with <br>, the navigation a plain list of links in a table.
    "line_breaks": (
        "<html><head><title>Iceland</title></head><body><table><tr><td>"
        + "<br>".join(f'<a href="{path}">{name}</a>' for path, name in LINKS)
        + "</td><td><h1>Iceland</h1>"
        + "<br>\n".join(sentence.strip() + "." for text in ICELAND for sentence in text.split(".") if sentence.strip())
        + "</td></tr></table></body></html>"
    ),
    # A note that stands above and below the text.
    "repeated_note": page(
        "The Danube",
        "<p>All lengths are given in kilometres.</p>" + paragraphs(*DANUBE) + "<p>All lengths are given in kilometres.</p>",
    ),
    # Facts as a definition list under a sentence or two.
    "definitions": page(
        "Chad in brief",
        "<p>These are the facts that we are asked for most often, and that a traveller to the country should "
        "have at hand.</p>"
        + "<dl>"
        + "".join(
            f"<dt>{term}</dt><dd>{text}</dd>"
            for term, text in zip(("Where it lies", "Capital", "Languages", "Money", "The lake"), CHAD, strict=True)
        )
        + "</dl>",
    ),
    # A page that speaks of its programming interface: one curly bracket.
    "template": page(
        "Iceland",
        paragraphs(*ICELAND[:3], "Other pages link here with {{Iceland}}, and the editors keep a list of those that do."),
    ),
    # Every sentence its own paragraph, some of them very short, and links to other pages in between.
    "fragments": page(
        "Chad",
        "".join(
            f"<p>{sentence.strip()}.</p>"
            for text in (*CHAD, "It is hot. It rarely rains. In the north is the Sahara. In the south are rivers")
            for sentence in text.split(".")
            if sentence.strip()
        ),
        after=f"<div><h3>See also</h3>{NAVIGATION}</div>",
    ),
}
