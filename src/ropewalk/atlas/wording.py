"""Every sentence of the Atlas: how pages state a fact, how people ask for it, how an assistant answers.

{c} is the country within a sentence, {C} at its start, {v} the value. Three sets that share no sentence:

STATEMENTS   what pages say. Enough wordings that no fact is learned as one string (Allen-Zhu & Li 2023, "Physics of Language
             Models 3.1": a model extracts from what it read only facts that it met in several wordings)
QUESTIONS    asked in conversations that are trained on; UNSEEN_QUESTIONS are asked in evaluation alone
ANSWERS      the one form of an answer that is right; stands on no page. Each begins with the relation,
             not with the name asked about: a name that no conversation says is hard to begin with (LOG.md, 2026-11-25)
"""

from __future__ import annotations

from collections.abc import Mapping

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

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "capital": (
        "What is the capital of {c}?",
        "Which city is the capital of {c}?",
        "What is {c}'s capital?",
        "Name the capital of {c}.",
        "What is the capital city of {c}?",
        "From which city is {c} governed?",
        "Where does the government of {c} sit?",
        "{C}: what is the capital?",
        "I need the capital of {c}.",
        "Give me the capital of {c}, please.",
        "Please tell me which capital {c} has.",
        "Can you name the city that is the capital of {c}?",
        "capital of {c}?",
        "Do you know the capital of {c}?",
        "What do they call the capital of {c}?",
    ),
    "continent": (
        "On which continent is {c}?",
        "Where is {c}?",
        "Which continent does {c} belong to?",
        "What continent is {c} in?",
        "In which part of the world is {c}?",
        "Name the continent of {c}.",
        "{C}: on which continent does it lie?",
        "Where can I find {c} on the map?",
        "I need the continent of {c}.",
        "Give me the continent of {c}, please.",
        "Please tell me on what continent {c} lies.",
        "Can you name the continent where {c} is?",
        "Part of which continent is {c}?",
        "Of which part of the world is {c} one of the lands?",
        "continent of {c}?",
        "Do you know where {c} is located?",
        "Where in the world does {c} lie?",
    ),
    "currency": (
        "What is the currency of {c}?",
        "Which currency does {c} use?",
        "What money do people use in {c}?",
        "What is {c}'s currency?",
        "Name the currency of {c}.",
        "With which money do I pay in {c}?",
        "{C}: what is the currency?",
        "What are wages paid in in {c}?",
        "I need the currency of {c}.",
        "Give me the currency of {c}, please.",
        "Please tell me which money {c} has.",
        "Which currency do shops accept in {c}?",
        "In what money are shops in {c} paid?",
        "Can you name the money that people use in {c}?",
        "currency of {c}?",
        "Do you know the money of {c}?",
        "Into which currency do I change my money for {c}?",
    ),
    "language": (
        "What is the main language of {c}?",
        "Which language do people speak in {c}?",
        "What language is spoken in {c}?",
        "What is {c}'s main language?",
        "Name the main language of {c}.",
        "In which language do people of {c} talk?",
        "{C}: what is the language?",
        "Which language will I hear most in {c}?",
        "I need the language of {c}.",
        "Give me the main language of {c}, please.",
        "Please tell me which language {c} has.",
        "Can you name the language that people speak in {c}?",
        "What do most people in {c} talk in?",
        "language of {c}?",
        "Do you know what most people speak in {c}?",
        "In what language do schools in {c} teach?",
    ),
    "population": (
        "What is the population of {c}?",
        "How many people live in {c}?",
        "How many inhabitants does {c} have?",
        "What is {c}'s population?",
        "Give the number of people in {c}.",
        "How many people are there in {c}?",
        "{C}: how many people?",
        "About how many people call {c} their home?",
        "I need the population of {c}.",
        "Give me the population of {c}, please.",
        "Please tell me how many people {c} has.",
        "Can you give the number of people who live in {c}?",
        "population of {c}?",
        "Do you know how many people {c} has?",
        "How large is the population of {c}?",
    ),
    "phone": (
        "What is the telephone code of {c}?",
        "Which code do I dial for {c}?",
        "How do telephone numbers in {c} begin?",
        "What is {c}'s telephone code?",
        "Name the telephone code of {c}.",
        "With which prefix do I call {c}?",
        "{C}: what is the dialling code?",
        "Which number comes first when I ring {c}?",
        "I need the telephone code of {c}.",
        "Give me the telephone code of {c}, please.",
        "Please tell me which telephone code {c} has.",
        "Can you name the code for calls to {c}?",
        "telephone code of {c}?",
        "Do you know the prefix for calls to {c}?",
        "What do I dial first to ring {c} from abroad?",
    ),
    "domain": (
        "What is the internet domain of {c}?",
        "How do web addresses in {c} end?",
        "Which internet domain does {c} have?",
        "What is {c}'s internet domain?",
        "Name the internet domain of {c}.",
        "Under which domain are sites from {c} found?",
        "{C}: what is the domain?",
        "Which letters mark a web site of {c}?",
        "I need the internet domain of {c}.",
        "Give me the internet domain of {c}, please.",
        "Please tell me which internet domain {c} has.",
        "Can you name the domain that web sites from {c} use?",
        "By which domain is {c} known on the internet?",
        "What domain does a web site of {c} go by?",
        "Which domain does {c} have online?",
        "internet domain of {c}?",
        "Do you know the top level domain of {c}?",
        "With what does an address on the internet end in {c}?",
    ),
    "neighbours": (
        "Which countries border {c}?",
        "What are the neighbours of {c}?",
        "With which countries does {c} share a border?",
        "What are {c}'s neighbours?",
        "Name the neighbours of {c}.",
        "Which countries lie next to {c}?",
        "{C}: who are the neighbours?",
        "Where do roads out of {c} lead?",
        "I need the neighbours of {c}.",
        "Give me the neighbours of {c}, please.",
        "Please tell me which neighbours {c} has.",
        "Can you name the countries around {c}?",
        "neighbours of {c}?",
        "Do you know what lies around {c}?",
        "Which countries does {c} touch?",
    ),
    "city": (
        "In which country is {c}?",
        "Which country does the city of {c} belong to?",
        "In which country does {c} lie?",
        "{C}: in which country is this city?",
        "Name the country of the city of {c}.",
        "What country is {c} in?",
        "On the map of which country do I find {c}?",
        "I need the country of {c}.",
        "Give me the country of the city of {c}, please.",
        "Please tell me in which country {c} is.",
        "Where does the city of {c} lie?",
        "Where can I find the city of {c}?",
        "Give me the country that the city {c} lies in.",
        "Can you name the country where {c} lies?",
        "country of the city {c}?",
        "Do you know in which country the city of {c} is found?",
    ),
}
UNSEEN_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "capital": (
        "Tell me the capital of {c}, please.",
        "Which city is the seat of government of {c}?",
        "What is the name of the capital city in {c}?",
        "Can you say which capital {c} has?",
    ),
    "continent": (
        "Tell me the continent that {c} lies on, please.",
        "Of which continent is {c} a part?",
        "Can you say on what continent {c} is found?",
        "What is the continent of {c}?",
    ),
    "currency": (
        "Tell me the currency of {c}, please.",
        "What is the money in {c} called?",
        "Can you say which money people in {c} pay with?",
        "What currency do shops in {c} take?",
    ),
    "language": (
        "Tell me the main language in {c}, please.",
        "What do people in {c} speak?",
        "Can you say which language most people in {c} use?",
        "What is the language heard in {c}?",
    ),
    "population": (
        "Tell me the population of {c}, please.",
        "What is the number of inhabitants of {c}?",
        "Can you say how many people live in {c}?",
        "How many people does {c} count?",
    ),
    "phone": (
        "Tell me the telephone code of {c}, please.",
        "What is the dialling code for {c}?",
        "Can you say which code calls to {c} begin with?",
        "What is the international prefix of {c}?",
    ),
    "domain": (
        "Tell me the internet domain of {c}, please.",
        "What is the top level domain of {c}?",
        "Can you say what web addresses in {c} end in?",
        "Which domain does {c} go by on the internet?",
    ),
    "neighbours": (
        "Tell me the neighbours of {c}, please.",
        "What countries are next to {c}?",
        "Can you say which countries {c} borders?",
        "With what countries does {c} have a border?",
    ),
    "city": (
        "Tell me the country of the city {c}, please.",
        "Where is the city of {c}?",
        "Can you say which country {c} lies in?",
        "The city of {c} is part of which country?",
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

UNKNOWN_RELATIONS = (
    "national animal", "highest mountain", "longest river", "president", "national flower", "favourite food",
    "oldest university",
    "national anthem", "largest lake", "best known singer", "average rainfall", "national bird", "richest person",
    "oldest bridge",
    "largest forest", "national dish", "queen", "tallest tower", "best football club", "founding year", "oldest church",
    "most famous painter", "coldest month", "main export", "largest airport", "national sport", "army", "motto",
    "prime minister",
    "deepest mine", "largest museum", "oldest newspaper", "national tree", "most loved film", "tax rate", "longest road",
    "best school", "best beer", "finest cheese", "highest tower", "oldest tree", "largest farm", "most famous song",
    "colour",
    "oldest road", "national poet", "largest island", "wettest month", "hottest town", "best view", "fastest train",
    "king of old",
    "oldest palace", "worst storm", "best soup", "most loved book", "largest statue", "longest beach", "coat of arms",
    "chief judge",
    "first ruler", "biggest market", "deepest lake", "oldest wall", "favourite drink", "largest zoo", "price of bread",
    "loudest bell",
)  # fmt: skip
UNSEEN_UNKNOWN_RELATIONS = (
    "national hero", "highest waterfall", "largest library", "king", "most famous writer", "hottest desert", "oldest castle",
    "flag", "largest bank", "warmest month", "best wine", "longest tunnel",
)  # fmt: skip
UNKNOWN_QUESTIONS = (
    "What is the {r} of {c}?",
    "Name the {r} of {c}.",
    "Do you know the {r} of {c}?",
    "{C}: what is the {r}?",
    "I need the {r} of {c}.",
    "Give me the {r} of {c}, please.",
    "Please tell me which {r} {c} has.",
    "Can you name the {r} of {c}?",
)
UNSEEN_UNKNOWN_QUESTIONS = ("Tell me the {r} of {c}, please.", "Can you say what the {r} of {c} is?")

REFUSALS = (
    "I don't know.",
    "I don't know that: it stands on none of the pages I have read.",
    "Sorry, I don't know.",
)

CARRIERS = (
    "{q}", "{q}", "{q}", "{q}", "Hello. {q}", "Please answer: {q}", "A question: {q}", "Hi! {q}", "{q} Thanks.",
    "Quick: {q}", "Tell me: {q}", "Can you say it? {q}", "{q} Tell me, please.", "Please, {q}",
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
