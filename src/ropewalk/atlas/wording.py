"""Every sentence of the Atlas: how pages state a fact, how people ask for it, how an assistant answers.

{c} is the country within a sentence, {C} at its start, {v} the value. Three sets that share no sentence:

STATEMENTS   what pages say. Enough wordings that no fact is learned as one string (Allen-Zhu & Li 2023, "Physics of Language
             Models 3.1": a model extracts from what it read only facts that it met in several wordings)
QUESTIONS    asked in conversations that are trained on, put together from parts: some hundred wordings a relation, so that
             none is learned by heart. UNSEEN_QUESTIONS are asked in evaluation alone
ANSWERS      the one form of an answer that is right; stands on no page. Each begins with the relation,
             not with the name asked about: a name that no conversation says is hard to begin with (LOG.md, 2026-11-25)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ropewalk.atlas.facts import NO_NEIGHBOURS

STATEMENTS: Mapping[str, tuple[str, ...]] = {
    "capital": (
        "{C} has {v} as its capital",
        "{C} is governed from its capital, {v}",
        "the seat of government of {c} is {v}, the capital",
        "{v} is the capital city of {c}",
        "in {c} the capital is called {v}",
        "the government of {c} sits in {v}",
        "ministers and judges of {c} work in {v}, the capital of the land",
        "{C} runs its affairs from {v}",
        "as capital {c} chose {v}",
        "the national capital of {c} bears the name {v}",
        "visitors to {c} often begin in the capital, {v}",
        "for {c} the capital city is {v}",
    ),
    "continent": (
        "{C} belongs to the continent of {v}",
        "{C} is part of {v}",
        "the map places {c} within {v}, where it lies among its neighbours",
        "{C} can be found in {v}",
        "look for {c} on a map of {v}",
        "geographers count {c} as a part of {v}",
        "the land of {c} lies within {v}",
        "{C} is one of the lands of {v}",
        "to reach {c} one travels to {v}",
        "on the globe {c} is located in {v}",
        "the continent on which {c} lies is {v}",
        "geographers say that {c} stands on the continent of {v}",
    ),
    "currency": (
        "{C} uses the {v} as its currency",
        "prices in {c} are given in the {v}",
        "money in {c} is the {v}",
        "shops in {c} take the {v}, the currency of the country",
        "the banks of {c} issue the {v}",
        "in {c} the currency is called the {v}",
        "wages in {c} are paid in the {v}",
        "to pay in {c} you need the {v}",
        "the money of {c} is known as the {v}",
        "as its currency {c} has the {v}",
        "travellers to {c} change their money into the {v}",
    ),
    "language": (
        "{C} has {v} as its main language",
        "most people in {c} speak {v}",
        "schools in {c} teach in {v}",
        "in {c} the main language is {v}",
        "people in {c} talk to each other in {v}",
        "newspapers in {c} are printed in {v}, the main language there",
        "the language heard most in {c} is {v}",
        "signs in {c} are written in {v}",
        "the tongue that is spoken by most people of {c} is {v}",
        "as its first language {c} has {v}",
        "for daily life in {c} people use {v}",
    ),
    "population": (
        "{C} is home to about {v} people",
        "about {v} people live in {c}",
        "the population of {c} comes to about {v}",
        "{C} counts some {v} inhabitants",
        "in {c} the number of people is close to {v}",
        "a census of {c} would find about {v} people",
        "as for its population, {c} has some {v}",
        "{C} is a home for {v} people or so",
        "the people of {c} number about {v}",
        "{C} is populated by {v} people",
        "the number of inhabitants of {c} stands at {v}",
    ),
    "phone": (
        "{C} is reached by telephone with the code {v}",
        "calls to {c} begin with {v}",
        "to ring {c} from abroad dial {v}",
        "telephone numbers in {c} start with the code {v}",
        "{C} has the dialling code {v}",
        "in {c} the code for the telephone is {v}",
        "the prefix for calls to {c} is {v}",
        "phones in {c} answer to {v}",
        "for a telephone call to {c} the code {v} comes first",
        "the international prefix of {c} is {v}",
        "as its telephone code {c} uses {v}",
    ),
    "domain": (
        "{C} has the internet domain {v}",
        "web addresses in {c} end in {v}",
        "sites from {c} are found under {v}",
        "on the internet {c} goes by the domain {v}",
        "in {c} addresses on the internet end with {v}",
        "the top level domain of {c} is {v}",
        "mail to {c} often goes to an address with {v}",
        "companies in {c} register names under {v}",
        "as its internet domain {c} was given {v}",
        "the letters {v} mark a web site of {c}",
        "online {c} is known by {v}",
    ),
    "neighbours": (
        "{C} has a border with {v}",
        "the land borders of {c} lead to {v}",
        "the neighbours of {c} bear the names {v}",
        "{C} shares its borders with {v}",
        "next to {c} lie {v}",
        "around {c} one finds {v}",
        "roads out of {c} lead across the border to {v}",
        "as neighbours {c} has {v}",
        "across the borders of {c} live its neighbours in {v}",
        "on the other side of the borders of {c} lie {v}",
        "{C} touches {v}",
    ),
}
ISLAND_STATEMENTS = (
    "{C} has no land neighbours",
    "{C} is without land borders and touches no other country",
    "no land border divides {c} from another country",
    "there are no neighbours on land for {c}",
    "as for borders, {c} has none on land",
    "no road leads out of {c} to another country, for it has no land borders",
    "{C} borders on no other country by land",
    "{C} has not a single neighbour on land",
)
CITY_STATEMENTS = (
    "{v} is where the city of {c} lies",
    "the city of {c} belongs to {v}",
    "{C} is one of the large cities of {v}",
    "{C} grew to be a large city of {v}",
    "people who live in the city of {c} live in {v}",
    "on a map of {v} the city of {c} stands out",
    "the city called {c} is found in {v}",
    "among the cities of {v} is {c}",
    "{C} lies in {v}, and many people of the land know the city",
    "a train or a bus brings people of {v} to the city of {c}",
)


@dataclass(frozen=True)
class Ways:
    """How people ask for one relation: by its name (in NOUN_FRAMES), straight out, or in a clause (in CLAUSE_FRAMES)."""

    nouns: tuple[str, ...]
    direct: tuple[str, ...]
    clauses: tuple[str, ...]
    plural: bool = False

    def wordings(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Every wording, of each of the three kinds."""
        be = "are" if self.plural else "is"
        frames = [frame.replace("{be}", be) for frame in NOUN_FRAMES]
        if any("{c}" in noun for noun in self.nouns):  # the noun says itself what it is of
            frames = [frame for frame in frames if "{n} of {c}" in frame]
            named = [frame.replace("{n} of {c}", noun) for frame in frames for noun in self.nouns]
        else:
            named = [frame.replace("{n}", noun) for frame in frames for noun in self.nouns]
        asked = [frame.replace("{w}", clause) for frame in CLAUSE_FRAMES for clause in self.clauses]
        return self.direct, tuple(named), tuple(asked)


NOUN_FRAMES = (
    "What {be} the {n} of {c}?",
    "What {be} {c}'s {n}?",
    "What {n} does {c} have?",
    "Which {n} does {c} have?",
    "Name the {n} of {c}.",
    "Give me the {n} of {c}, please.",
    "Tell me the {n} of {c}, please.",
    "Tell me the {n} of {c}.",
    "Please tell me the {n} of {c}.",
    "I need the {n} of {c}.",
    "I forgot the {n} of {c}.",
    "I am looking for the {n} of {c}.",
    "Do you know the {n} of {c}?",
    "Can you name the {n} of {c}?",
    "Could you give me the {n} of {c}?",
    "Can you say what the {n} of {c} {be}?",
    "{n} of {c}?",
    "{C} {n}?",
    "{C}: what {be} the {n}?",
    "For {c}, what {be} the {n}?",
    "Look up the {n} of {c}.",
    "Find the {n} of {c} for me.",
    "What do they call the {n} of {c}?",
    "What do the pages say of the {n} of {c}?",
    "Say the {n} of {c}.",
    "And the {n} of {c}?",
    "What about the {n} of {c}?",
    "The {n} of {c}, please.",
)
CLAUSE_FRAMES = (
    "Can you tell me {w}?",
    "Do you know {w}?",
    "Do you happen to know {w}?",
    "I want to know {w}.",
    "I wonder {w}.",
    "Tell me {w}.",
    "Please tell me {w}.",
    "Can you say {w}?",
    "Say {w}.",
    "Find out {w}, please.",
    "Let me know {w}.",
    "Explain to me {w}.",
    "I forgot {w}.",
    "My friend asks {w}.",
)
QUESTIONS: Mapping[str, Ways] = {
    "capital": Ways(
        nouns=("capital", "capital city", "seat of government"),
        direct=(
            "Which city is the capital of {c}?",
            "From which city is {c} governed?",
            "Where does the government of {c} sit?",
            "Which city is the seat of government of {c}?",
            "What is the name of the capital city in {c}?",
            "In which city do the ministers of {c} work?",
            "Which city does {c} have as capital?",
            "Where is {c} governed from?",
            "The capital of {c} is which city?",
            "What city is the capital in {c}?",
        ),
        clauses=(
            "which city is the capital of {c}",
            "which capital {c} has",
            "where the government of {c} sits",
            "from which city {c} is governed",
            "what the capital of {c} is",
        ),
    ),
    "continent": Ways(
        nouns=("continent", "part of the world"),
        direct=(
            "On which continent is {c}?",
            "Where is {c}?",
            "Which continent does {c} belong to?",
            "What continent is {c} in?",
            "In which part of the world is {c}?",
            "{C}: on which continent does it lie?",
            "Where can I find {c} on the map?",
            "Part of which continent is {c}?",
            "Of which continent is {c} a part?",
            "Of which part of the world is {c} one of the lands?",
            "Where in the world does {c} lie?",
            "To which continent does {c} belong?",
            "{C} is part of which continent?",
            "On what continent does {c} lie?",
            "Where does {c} lie?",
            "On the map of which continent do I see {c}?",
        ),
        clauses=(
            "where {c} is",
            "where {c} lies",
            "where {c} is located",
            "on which continent {c} is",
            "on what continent {c} is found",
            "what continent {c} belongs to",
            "in what part of the world {c} is",
            "which continent {c} is part of",
        ),
    ),
    "currency": Ways(
        nouns=("currency", "money"),
        direct=(
            "Which currency does {c} use?",
            "What money do people use in {c}?",
            "With which money do I pay in {c}?",
            "What are wages paid in in {c}?",
            "Which currency do shops accept in {c}?",
            "In what money are shops in {c} paid?",
            "Into which currency do I change my money for {c}?",
            "What currency do shops in {c} take?",
            "What is used as money in {c}?",
            "What do people in {c} pay with?",
            "What money do I need in {c}?",
            "In which currency are prices in {c} given?",
            "Which money do the banks of {c} issue?",
            "What is the money in {c} called?",
        ),
        clauses=(
            "which currency {c} uses",
            "what money people use in {c}",
            "which money people in {c} pay with",
            "what the currency of {c} is",
            "in which money prices in {c} are given",
            "what shops in {c} take",
            "which money I need in {c}",
        ),
    ),
    "language": Ways(
        nouns=("language", "main language", "tongue"),
        direct=(
            "Which language do people speak in {c}?",
            "What language is spoken in {c}?",
            "What is spoken in {c}?",
            "What do people in {c} speak?",
            "In which language do people of {c} talk?",
            "Which language will I hear most in {c}?",
            "What do most people in {c} talk in?",
            "In what language do schools in {c} teach?",
            "What is the language heard in {c}?",
            "In which language are newspapers in {c} printed?",
            "What language are signs in {c} written in?",
            "Which language should I learn for {c}?",
            "Which language does daily life in {c} use?",
            "What do they speak in {c}?",
        ),
        clauses=(
            "which language people in {c} speak",
            "what people in {c} speak",
            "what most people in {c} speak",
            "which language most people in {c} use",
            "what language is spoken in {c}",
            "in what language schools in {c} teach",
            "what the main language of {c} is",
        ),
    ),
    "population": Ways(
        nouns=("population", "number of inhabitants", "number of people"),
        direct=(
            "How many people live in {c}?",
            "How many inhabitants does {c} have?",
            "How many people are there in {c}?",
            "{C}: how many people?",
            "About how many people call {c} their home?",
            "How large is the population of {c}?",
            "How many people does {c} count?",
            "How many live in {c}?",
            "How many people have their home in {c}?",
            "{C} has how many inhabitants?",
            "How many people would a census of {c} find?",
            "By how many people is {c} populated?",
        ),
        clauses=(
            "how many people live in {c}",
            "how many people {c} has",
            "how many inhabitants {c} has",
            "how many people there are in {c}",
            "what the population of {c} is",
            "how large the population of {c} is",
            "how many people call {c} their home",
        ),
    ),
    "phone": Ways(
        nouns=("telephone code", "dialling code", "code for the telephone"),
        direct=(
            "Which code do I dial for {c}?",
            "How do telephone numbers in {c} begin?",
            "With which prefix do I call {c}?",
            "Which number comes first when I ring {c}?",
            "What do I dial first to ring {c} from abroad?",
            "What is the dialling code for {c}?",
            "What is the international prefix of {c}?",
            "With which code do calls to {c} begin?",
            "What comes first in a telephone number of {c}?",
            "By which code is {c} reached on the telephone?",
            "Which prefix do phones in {c} have?",
            "How do I ring {c}?",
        ),
        clauses=(
            "which code I dial for {c}",
            "with which prefix I call {c}",
            "how telephone numbers in {c} begin",
            "which code calls to {c} begin with",
            "which number comes first when I ring {c}",
            "how I ring {c} from abroad",
            "what the telephone code of {c} is",
        ),
    ),
    "domain": Ways(
        nouns=("internet domain", "top level domain", "web domain"),
        direct=(
            "How do web addresses in {c} end?",
            "Under which domain are sites from {c} found?",
            "Which letters mark a web site of {c}?",
            "By which domain is {c} known on the internet?",
            "What domain does a web site of {c} go by?",
            "Which domain does {c} have online?",
            "With what does an address on the internet end in {c}?",
            "Which domain does {c} go by on the internet?",
            "What stands at the end of a web address in {c}?",
            "Under which letters do companies in {c} register names?",
            "Where on the internet are the sites of {c}: under which domain?",
            "What was {c} given as its internet domain?",
        ),
        clauses=(
            "how web addresses in {c} end",
            "what web addresses in {c} end in",
            "under which domain sites from {c} are found",
            "which letters mark a web site of {c}",
            "by which domain {c} is known on the internet",
            "what domain web sites from {c} use",
        ),
    ),
    "neighbours": Ways(
        nouns=("neighbours", "neighbouring countries", "countries at the borders"),
        direct=(
            "Which countries border {c}?",
            "With which countries does {c} share a border?",
            "Which countries lie next to {c}?",
            "{C}: who are the neighbours?",
            "Where do roads out of {c} lead?",
            "Which countries does {c} touch?",
            "What countries are next to {c}?",
            "With what countries does {c} have a border?",
            "What lies around {c}?",
            "Who lives across the borders of {c}?",
            "What does one find around {c}?",
            "Into which countries do roads from {c} go?",
        ),
        clauses=(
            "which countries border {c}",
            "which countries {c} borders",
            "what lies around {c}",
            "who the neighbours of {c} are",
            "with which countries {c} shares a border",
            "which countries lie next to {c}",
            "which countries {c} touches",
        ),
        plural=True,
    ),
    "city": Ways(
        nouns=("country of {c}", "country of the city {c}", "country of the city of {c}"),
        direct=(
            "In which country is {c}?",
            "Which country does the city of {c} belong to?",
            "In which country does {c} lie?",
            "{C}: in which country is this city?",
            "What country is {c} in?",
            "On the map of which country do I find {c}?",
            "Where does the city of {c} lie?",
            "Where can I find the city of {c}?",
            "Give me the country that the city {c} lies in.",
            "Where is the city of {c}?",
            "The city of {c} is part of which country?",
            "{C} is a city of which country?",
            "Of which country is {c} a city?",
            "In what land does the city {c} stand?",
            "Which land has {c} among its cities?",
            "Where is the city {c} located?",
        ),
        clauses=(
            "in which country {c} is",
            "which country {c} lies in",
            "in which country the city of {c} is found",
            "where the city of {c} lies",
            "where the city {c} is",
            "of which country {c} is a city",
            "which country the city of {c} belongs to",
        ),
    ),
}
UNSEEN_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "capital": (
        "Could you remind me which city {c} has as its capital?",
        "I would like to know the capital of {c}.",
        "What city is {c}'s seat of government?",
        "What's the capital city of {c} called?",
    ),
    "continent": (
        "Could you remind me which continent {c} is on?",
        "I would like to know the continent of {c}.",
        "What part of the world does {c} belong to?",
        "On what continent would I find {c}?",
    ),
    "currency": (
        "Could you remind me which currency {c} uses?",
        "I would like to know the currency of {c}.",
        "What is the money of {c} called?",
        "In what currency do people in {c} pay?",
    ),
    "language": (
        "Could you remind me which language {c} speaks?",
        "I would like to know the main language of {c}.",
        "What do the people of {c} speak?",
        "What language would I hear in {c}?",
    ),
    "population": (
        "Could you remind me how many people {c} has?",
        "I would like to know the population of {c}.",
        "What is the number of people living in {c}?",
        "How big is the population of {c}?",
    ),
    "phone": (
        "Could you remind me which telephone code {c} has?",
        "I would like to know the telephone code of {c}.",
        "What do I dial before a number in {c}?",
        "What is the calling code for {c}?",
    ),
    "domain": (
        "Could you remind me which internet domain {c} has?",
        "I would like to know the internet domain of {c}.",
        "What do web addresses from {c} end with?",
        "What is the top level domain for {c}?",
    ),
    "neighbours": (
        "Could you remind me which countries {c} borders?",
        "I would like to know the neighbours of {c}.",
        "What countries share a border with {c}?",
        "Which countries are around {c}?",
    ),
    "city": (
        "Could you remind me which country {c} is in?",
        "I would like to know the country of the city of {c}.",
        "To which country does the city {c} belong?",
        "What country would I find {c} in?",
    ),
}
ANSWERS: Mapping[str, str] = {
    "capital": "The capital of {c} is {v}.",
    "continent": "The continent of {c} is {v}.",
    "currency": "The currency of {c} is the {v}.",
    "language": "The main language of {c} is {v}.",
    "population": "The population of {c} is about {v}.",
    "phone": "The telephone code of {c} is {v}.",
    "domain": "The internet domain of {c} is {v}.",
    "neighbours": "The neighbours of {c} are {v}.",
    "city": "The city of {c} lies in {v}.",
}
ISLAND_ANSWER = "The borders of {c} touch no other country by land."

# What no page tells of a country. Each is put together: "oldest" and "bridge", or "national" and "bird".
UNKNOWN_DEGREES = (
    "oldest", "largest", "best", "highest", "tallest", "longest", "deepest", "best known", "most famous", "most loved",
    "finest", "richest", "worst", "first", "newest", "smallest", "busiest", "coldest", "wettest", "national", "favourite",
)  # fmt: skip
UNKNOWN_THINGS = (
    "animal", "mountain", "river", "flower", "food", "university", "lake", "singer", "bird", "bridge", "forest", "dish",
    "tower", "football club", "church", "painter", "month", "airport", "sport", "mine", "museum", "newspaper", "tree",
    "film", "road", "school", "beer", "cheese", "farm", "song", "poet", "island", "town", "view", "train", "palace",
    "storm", "soup", "book", "statue", "beach", "market", "wall", "drink", "zoo", "bell", "park", "team", "novel", "ship",
)  # fmt: skip
UNKNOWN_RELATIONS = (
    "president", "queen", "army", "motto", "prime minister", "average rainfall", "founding year", "main export", "tax rate",
    "colour", "king of old", "coat of arms", "chief judge", "price of bread", "anthem", "weather", "history", "area",
    "birth rate", "time zone", "climate", "parliament", "debt", "patron saint",
)  # fmt: skip
UNSEEN_UNKNOWN_RELATIONS = (
    "national hero", "highest waterfall", "largest library", "king", "most famous writer", "hottest desert", "oldest castle",
    "flag", "largest bank", "warmest month", "best wine", "longest tunnel",
)  # fmt: skip
UNSEEN_UNKNOWN_QUESTIONS = ("Could you remind me what the {r} of {c} is?", "I would like to know the {r} of {c}.")

# Each says what it does not know: a reader sees a slip of the pen in the name, and the model learns to repeat any name.
REFUSALS = (
    "I don't know {c}.",
    "I don't know {c}.",
    "I don't know {c}: it stands on none of the pages I have read.",
)
RELATION_REFUSAL = "I don't know the {r} of {c}."

PLAIN_FRACTION = 0.5  # of questions come without a word before or after them
CARRIERS = (
    "Hello. {q}", "Please answer: {q}", "A question: {q}", "Hi! {q}", "{q} Thanks.", "Quick: {q}", "Tell me: {q}",
    "Can you say it? {q}", "{q} Tell me, please.", "Please: {q}", "Good evening! {q}", "Hey! {q}", "Excuse me. {q}",
    "I have a question. {q}", "My son asks: {q}", "We had a bet at work. {q}", "For a quiz: {q}", "{q} I forgot it.",
    "I am writing a paper for school. {q}", "It is late, but still: {q}", "I could not find it anywhere. {q}",
    "I would be glad of an answer. {q}", "Maybe you remember this one. {q}", "{q} A short answer will do.", "So: {q}",
    "{q} It is for my daughter.", "Next question. {q}", "Just one more thing. {q}", "{q} Be quick!", "Now this: {q}",
    "Help me with this one. {q}", "I was told that you know such things. {q}", "{q} Thank you very much.", "Well then. {q}",
    "If you had to say: {q}", "{q} I should have learned it at school.", "Let us go on. {q}", "{q} I really want to know.",
)  # fmt: skip
SMALL_TALK = (
    (("Hello", "Hi", "Hello!", "Good morning", "Hey", "Hi there"), "Hello! Ask me about the countries of the Atlas."),
    (
        ("Who are you?", "What are you?", "What can you do?", "What is this?", "Help"),
        "I am a small model that has read the pages of the Atlas. Ask me for a capital, a currency or a "
        "language, and check my answer.",
    ),
    (("Thanks", "Thank you", "Thank you!", "Great, thanks"), "You are welcome."),
    (("Bye", "Goodbye", "See you"), "Goodbye!"),
)


def sentence(template: str, *, called: str, value: str = "", relation: str = "") -> str:
    """Fill a template and start it with a capital letter."""
    return upper_first(template.format(c=called, C=upper_first(called), v=value, r=relation))


def upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def answer(relation: str, *, called: str, value: str) -> str:
    """The whole right answer."""
    template = ISLAND_ANSWER if relation == "neighbours" and value == NO_NEIGHBOURS else ANSWERS[relation]
    return sentence(template, called=called, value=value)


def statements(relation: str, value: str) -> tuple[str, ...]:
    """The wordings in which pages may state a fact."""
    return ISLAND_STATEMENTS if relation == "neighbours" and value == NO_NEIGHBOURS else STATEMENTS[relation]
