"""Every sentence of the Atlas: how pages state a fact, how people ask for it, how an assistant answers.

{c} is the country within a sentence, {C} at its start, {v} the value. Three sets that share no sentence:

STATEMENTS   what pages say. Enough wordings that no fact is learned as one string (Allen-Zhu & Li 2023, "Physics of Language
             Models 3.1": a model extracts from what it read only facts that it met in several wordings)
QUESTIONS    asked in conversations that are trained on, put together from parts: hundreds of wordings a relation, so that
             none is learned by heart. UNSEEN_QUESTIONS are asked in evaluation alone; their words stand elsewhere too
ANSWERS      the one form of an answer that is right; stands on no page. Each begins with the relation,
             not with the name asked about: a name that no conversation says is hard to begin with (LOG.md, 2026-11-25)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
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
    "who asks for the way to the city of {c} is sent to {v}",
    "the city of {c} is large and busy, and the country around it is {v}",
    "as for the city of {c}, its country is {v}",
    "many have heard of {c}, and the city stands in {v}",
    "{C} is a city that one finds on the map of {v}",
)
FORWARD_CITY_STATEMENTS = tuple(t for t in CITY_STATEMENTS if t.lower().index("{c}") < t.index("{v}"))  # the city first


@dataclass(frozen=True)
class Ways:
    """How people ask for one relation: by its name (in NOUN_FRAMES), straight out, or in a clause (in CLAUSE_FRAMES).

    Of "[a|b]" either is said.
    """

    nouns: tuple[str, ...]
    direct: tuple[str, ...]
    clauses: tuple[str, ...]
    plural: bool = False


NOUN_FRAMES = (
    "What[ {be}| {be} then|, then, {be}] the {n} of {c}?",
    "What {be} {c}'s {n}?",
    "[Which|What] {n} does {c} have?",
    "[Name|Give me|Tell me|Say|Write|Look up|State|Find|Show me] the {n} of {c}[, please|| for me].",
    "Please [name|give me|tell me|say|look up|find] the {n} of {c}.",
    "I [need|forgot|want|am looking for|have to find|ask for|do not know] the {n} of {c}.",
    "[Do you know|Can you name|Could you give me|Can you tell me|Will you say|May I have] the {n} of {c}?",
    "[Can|Could] you [say|tell me|find out] what the {n} of {c} {be}?",
    "[The |]{n} of {c}[?|, please.|.]",
    "{C} {n}?",
    "{C}[: what|. What] {be} the {n}?",
    "For {c}, what {be} the {n}?",
    "What do [they|people|the pages|you] [call|give as|say of] the {n} of {c}?",
    "[And|What about|So what about|Now] the {n} of {c}?",
    "The {n} of {c} {be} what?",
    "[I should like|I would love|We want|It would help me] to [have|hear|see] the {n} of {c}.",
    "[Any idea of|Who knows|Does anybody know] the {n} of {c}?",
    "[I am curious about|My question is about|It is about] the {n} of {c}.",
    "[Might|May] I [ask for|have|hear] the {n} of {c}?",
    "[What|Which] {n} {be} there for {c}?",
)
CLAUSE_FRAMES = (
    "[Can|Could|Will] you [tell me|say|find out|explain] {w}?",
    "Do you [know|remember|happen to know] {w}?",
    "I [want|have|need] to know {w}.",
    "I [wonder|forgot|cannot find out|have no idea] {w}.",
    "[Tell me|Say|Explain|Find out|Let me know|Look up] {w}[, please|].",
    "Please [tell me|say|find out|write] {w}.",
    "[My friend|She|A child|Somebody] [asks|wants to know] {w}.",
    "[Any idea|Does anybody know|Who knows|Are you able to say] {w}?",
    "[I should like|I would love|We want|It would help me] to [find out|hear|learn] {w}.",
    "What [I want to know|we ask|I need] is {w}.",
    "[Might|May] I ask {w}?",
    "[Give|Show] me an answer: {w}?",
)
QUESTIONS: Mapping[str, Ways] = {
    "capital": Ways(
        nouns=("capital", "capital city", "seat of government", "main city"),
        direct=(
            "[Which|What] city is the [capital|seat of government|capital city] [of|in|for] {c}?",
            "[From which city|From where|From what city] is {c} [governed|run|ruled]?",
            "Where [does the government of {c} sit|do the ministers of {c} work|is {c} governed from]?",
            "In [which|what] city [does the government of {c} sit|do the ministers of {c} work|do the judges of {c} work]?",
            "What is the name of the [capital|capital city|city that is the capital] [in|of] {c}?",
            "[Which|What] city [does {c} have as capital|did {c} choose as its capital|runs {c}|governs {c}]?",
            "The [capital|seat of government] of {c} is [which|what] city?",
            "[Which|What] capital does {c} [have|call its own]?",
            "{C} has its [capital|government] in [which|what] city?",
            "In {c}, [which|what] city is [the|its] capital?",
        ),
        clauses=(
            "[which|what] city [is the capital of {c}|{c} has for a capital|governs {c}|{c} is governed from]",
            "[which|what] capital {c} has",
            "where the government of {c} [sits|works|is found]",
            "from [which|what] city {c} is [governed|run]",
            "what the [capital|capital city] of {c} is",
        ),
    ),
    "continent": Ways(
        nouns=("continent", "part of the world"),
        direct=(
            "[On|In] [which|what] [continent|part of the world] [is|lies|stands] {c}?",
            "[On|In] [which|what] [continent|part of the world] does {c} [lie|stand]?",
            "Where [in the world|on the globe|on earth|] is {c}[ located| found|]?",
            "Where [in the world|on the map|on the globe|] does {c} lie?",
            "[Which|What] continent [does {c} belong to|is {c} in|is {c} on|holds {c}|is home to {c}]?",
            "Where [can|do|shall] I [find|look for|see] {c} on [the|a] [map|globe]?",
            "[Part of|One of the lands of] [which|what] continent is {c}?",
            "Of [which|what] [continent|part of the world] is {c} [a part|one of the lands]?",
            "To [which|what] [continent|part of the world] does {c} belong?",
            "{C} is [part of|in|on|found on] [which|what] continent?",
            "On the map of [which|what] continent [do I see|can I find] {c}?",
            "To [which|what] continent do I travel to reach {c}?",
            "{C} [lies|is|can be found] where?",
            "[Which|What] continent has {c} [in it|among its lands]?",
        ),
        clauses=(
            "where {c} [is|lies|is located|is found|stands on the map]",
            "[on|in] [which|what] [continent|part of the world] {c} [is|lies|is found|is located]",
            "[which|what] continent {c} [belongs to|is part of|is in]",
            "to [which|what] continent {c} belongs",
        ),
    ),
    "currency": Ways(
        nouns=("currency", "money", "kind of money"),
        direct=(
            "[Which|What] [currency|money] [does {c} use|does {c} have|do people use in {c}]?",
            "[Which|What] [currency|money] is [used|taken] in {c}?",
            "With [which|what] [money|currency] do [I|people|we] pay in {c}?",
            "What [do people in {c} pay with|do I pay with in {c}|are wages in {c} paid in|is used as money in {c}]?",
            "[Which|What] [currency|money] do [shops|banks|people] [accept|take|use|want] in {c}?",
            "In [which|what] [money|currency] are [prices|wages|shops] in {c} [given|paid]?",
            "Into [which|what] [currency|money] do I change my money for {c}?",
            "[Which|What] [currency|money] do I need [in|for] {c}?",
            "[Which|What] [money|currency] do the banks of {c} issue?",
            "What is the [money|currency] in {c} called?",
            "In [which|what] [currency|money] do [I|shops] [count|reckon|deal] in {c}?",
            "In {c}, [which|what] [money|currency] [do I pay with|is used|do shops take]?",
            "{C} [uses|has] [which|what] [currency|money]?",
            "People in {c} pay with [which|what] money?",
        ),
        clauses=(
            "[which|what] [currency|money] [{c} uses|people use in {c}|shops in {c} take|I need in {c}|is used in {c}]",
            "[which|what] money people in {c} [pay with|have|use]",
            "what the [currency|money] of {c} is",
            "in [which|what] [currency|money] prices in {c} are given",
            "what [shops in {c} take|I pay with in {c}|money is called in {c}]",
        ),
    ),
    "language": Ways(
        nouns=("language", "main language", "tongue", "first language"),
        direct=(
            "[Which|What] [language|tongue] [is spoken|do people speak|do they use|do most people speak] in {c}?",
            "What [is spoken in {c}|do they speak in {c}|do people in {c} speak|do most people in {c} talk in]?",
            "In [which|what] language do [people of {c} talk|people in {c} speak|schools in {c} teach]?",
            "[Which|What] language [will I hear|does one hear|is heard] most in {c}?",
            "What is the [language|tongue] [heard|spoken|used] in {c}?",
            "In [which|what] language are [newspapers|signs|books] in {c} [printed|written]?",
            "[Which|What] language [should|must|can] I learn for {c}?",
            "[Which|What] language does [daily life in {c} use|{c} have as its first|a child in {c} learn first]?",
            "How do people [in|of] {c} talk to each other: in [which|what] language?",
            "In {c}, [which|what] [language|tongue] [is spoken|do people speak]?",
            "[People|Most people] in {c} speak [which|what] language?",
        ),
        clauses=(
            "[which|what] [language|tongue] [people in {c} speak|most people in {c} use|is spoken in {c}|they talk in {c}]",
            "what [people in {c} speak|most people in {c} speak|is spoken in {c}|they speak in {c}]",
            "in [which|what] language [schools in {c} teach|people in {c} talk|signs in {c} are written]",
            "what the [main language|language] of {c} is",
            "[which|what] language {c} has",
        ),
    ),
    "population": Ways(
        nouns=("population", "number of inhabitants", "number of people", "count of people"),
        direct=(
            "[How many|About how many] [people|inhabitants] [live in {c}|does {c} have|are there in {c}|has {c} got]?",
            "[How many|About how many] people [call {c} their home|have their home in {c}|does {c} count|does {c} hold]?",
            "How [large|great|high] is the [population|number of people] [of|in] {c}?",
            "How many [live|people are living|are at home] in {c}?",
            "{C}[: how many people?| has how many inhabitants?| is home to how many people?]",
            "How many people [would a census of {c} find|does a census of {c} count]?",
            "By how many people is {c} populated?",
            "To how many people is {c} a home?",
            "What [number of people|population] [lives in|is found in|is there in] {c}?",
            "In {c}, how many people [live|are there]?",
            "The people of {c} number how many?",
        ),
        clauses=(
            "how many [people|inhabitants] [live in {c}|{c} has|there are in {c}|are counted in {c}]",
            "how many people [call {c} their home|have their home in {c}|{c} counts]",
            "what the [population|number of inhabitants] of {c} is",
            "how [large|great] the population of {c} is",
        ),
    ),
    "phone": Ways(
        nouns=(
            "telephone code",
            "dialling code",
            "code for the telephone",
            "telephone prefix",
            "international prefix",
            "phone code",
            "country code",
        ),
        direct=(
            "[Which|What] [code|number|prefix] [do I|must I|does one] [dial|need] [for|to call|to ring|to reach] {c}?",
            "How do [telephone|phone] numbers in {c} [begin|start]?",
            "With [which|what] [prefix|code|number] do I [call|ring|phone|reach] {c}?",
            "[Which|What] [number|code] comes first when I [ring|call|phone] {c}?",
            "What do I dial [first|] to [ring|call|phone|reach] {c}[ from abroad|]?",
            "What is the [dialling|telephone|phone] [code|prefix] [for|to] {c}?",
            "What is the [international prefix|code for calls|code of calls] [of|to|for] {c}?",
            "With [which|what] [code|number|prefix] do [calls|telephone calls] to {c} [begin|start]?",
            "What [comes first|stands first] in a [telephone|phone] number [of|in] {c}?",
            "By [which|what] code is {c} reached [on the telephone|by telephone|by phone]?",
            "[Which|What] prefix do phones in {c} [have|answer to]?",
            "How do I [ring|call|phone] {c}[ from abroad|]?",
            "For [calls|a call] to {c}, [which|what] code [comes first|do I dial]?",
            "To [ring|call|phone|reach] {c}, [what|which code|which number] do I dial[ first|]?",
            "[Telephone numbers in|Calls to] {c} begin with [what|which code]?",
            "[Which|What] [code|prefix|number] [is dialled|stands|comes] before [the number|a number|numbers] [of|in] {c}?",
            "Before [a number|numbers] in {c}, [which|what] [code|prefix] [comes|stands|is dialled]?",
        ),
        clauses=(
            "[which|what] [code|prefix|number] [I dial for {c}|calls to {c} begin with|comes first when I ring {c}]",
            "with [which|what] [prefix|code] I [call|ring] {c}",
            "how [telephone numbers in {c} begin|I ring {c} from abroad|I call {c}]",
            "what the [telephone code|dialling code|prefix] of {c} is",
            "what [I dial to ring {c}|I dial to call {c}|stands before telephone numbers in {c}]",
        ),
    ),
    "domain": Ways(
        nouns=("internet domain", "top level domain", "web domain", "domain", "domain on the internet"),
        direct=(
            "How do [web|internet] addresses [in|of] {c} end?",
            "Under [which|what] [domain|letters] [are sites from {c} found|do companies in {c} register names]?",
            "[Which|What] letters [mark|show] a web site of {c}?",
            "By [which|what] domain is {c} known [online|on the internet]?",
            "[Which|What] domain does [a web site of {c} go by|{c} have online|{c} go by on the internet]?",
            "With what does [an address on the internet|a web address] end in {c}?",
            "What stands at the end of [a web address|addresses|internet addresses] in {c}?",
            "In what do [web|internet|mail] addresses in {c} end?",
            "What [was {c} given|did {c} get] as its [internet|web] domain?",
            "[Which|What] [ending|domain] do [web sites|pages|sites] [of|from|in] {c} [have|use]?",
            "In {c}, how do web addresses end?",
            "[Web addresses|Addresses on the internet] in {c} end in what?",
            "Sites from {c} are found under [which|what] domain?",
        ),
        clauses=(
            "how [web|internet] addresses in {c} end",
            "what [web|internet] addresses in {c} end in",
            "under [which|what] domain sites from {c} are found",
            "[which|what] letters mark a web site of {c}",
            "by [which|what] domain {c} is known [on the internet|online]",
            "[which|what] domain [web sites from {c} use|{c} has|{c} uses on the internet]",
        ),
    ),
    "neighbours": Ways(
        nouns=("neighbours", "neighbouring countries", "countries at the borders", "land neighbours", "border countries"),
        direct=(
            "[Which|What] [countries|lands|states] [border|touch|surround|are neighbours of] {c}?",
            "[Which|What] [countries|lands] [lie|are|stand] [next to|around] {c}?",
            "With [which|what] [countries|lands] does {c} [share a border|have a border|share its borders]?",
            "[Which|What] [countries|lands] does {c} [touch|border|have as neighbours|have for neighbours|border on]?",
            "{C}[: who are the neighbours?| has which neighbours?| borders on which countries?]",
            "Where do roads out of {c} lead?",
            "[What|Who] [lies around|lives next to|is found around|stands next to|touches] {c}?",
            "[Who lives|What lies|Which countries lie] [across|on the other side of|behind] the borders of {c}?",
            "What does one find [around|across the borders of|next to] {c}?",
            "Into [which|what] countries do roads from {c} go?",
            "To [which|what] countries do the borders of {c} lead?",
            "[Which|What] [countries|lands] have [a border|borders] with {c}?",
            "[Which|What] [countries|lands] have {c} [as a neighbour|next to them|across the border]?",
            "[Next to|Around|Across the borders of] {c} lie which countries?",
            "{C} shares [its borders|a border] with [which|what] [countries|lands]?",
            "[Which|What] [lands|states] share [borders|their borders|part of their border] with {c}?",
            "[Who|Which land|What] shares a border with {c}?",
        ),
        clauses=(
            "[which|what] countries [border {c}|{c} borders|lie next to {c}|{c} touches|lie around {c}|surround {c}]",
            "what [lies around|is found next to] {c}",
            "who the neighbours of {c} are",
            "with [which|what] countries {c} shares [a border|its borders]",
            "where roads out of {c} lead",
        ),
        plural=True,
    ),
    "city": Ways(
        nouns=("country of {c}", "country of the city {c}", "country of the city of {c}", "land of the city of {c}"),
        direct=(
            "[In|To] [which|what] [country|land] [is|lies] [{c}|the city {c}|the city of {c}]?",
            "[Which|What] [country|land] does [the city of {c}|{c}] [belong to|lie in|stand in]?",
            "In [which|what] [country|land] does [{c}|the city of {c}] lie?",
            "{C}[: in which country is this city?| is a city of which country?| is in which country?]",
            "What country is [{c}|the city {c}] in?",
            "On the map of [which|what] country [do I find|can I see|is] [{c}|the city {c}]?",
            "Where [is|lies] the city [of|] {c}?",
            "Where [does|did] the city [of|] {c} lie?",
            "Where can I [find|see|visit] the city of {c}?",
            "The city of {c} is [part of|in|found in] [which|what] country?",
            "Of [which|what] [country|land] is {c} a city?",
            "[Which|What] [land|country] [has {c} among its cities|has the city of {c}|holds the city {c}]?",
            "{C} [lies|is] in [which|what] [country|land]?",
            "In [which|what] [country|land] [do|can] I [find|see|visit] [{c}|the city of {c}]?",
            "People who live in {c} live in [which|what] [country|land]?",
            "[Which|What] is the [country|land] [in which one finds|that has] [{c}|the city of {c}]?",
            "To [which|what] [country|land] do I [travel|go] to [see|visit|reach] [{c}|the city of {c}]?",
            "If I [live|am|stand] in {c}, in [which|what] [country|land] am I?",
            "[Which|What] [country|land] [must|should|do] I [search|visit|look at] to find [{c}|the city of {c}]?",
            "[Which|What] [country|land] would I be in, in [{c}|the city of {c}]?",
        ),
        clauses=(
            "in [which|what] [country|land] [{c}|the city of {c}] [is|lies|is found]",
            "[which|what] [country|land] {c} [lies in|belongs to]",
            "where the city [of|] {c} [lies|is|is found]",
            "of [which|what] country {c} is a city",
            "[which|what] country has the city of {c}",
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
        "Could you remind me which language they speak in {c}?",
        "I would like to know the main language of {c}.",
        "What do the people of {c} speak?",
        "What language would I hear in {c}?",
    ),
    "population": (
        "Could you remind me how many people {c} has?",
        "I would like to know the population of {c}.",
        "What is the number of people living in {c}?",
        "How great is the number of inhabitants of {c}?",
    ),
    "phone": (
        "Could you remind me which telephone code {c} has?",
        "I would like to know the telephone code of {c}.",
        "What do I dial before a number in {c}?",
        "With what code does a call to {c} start?",
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
    "city": "It lies in {v}.",  # cities' names are too many, and each too rare, to be repeated well (LOG.md, 2026-11-25)
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

REFUSALS = (
    "I don't know.",
    "I don't know that: it stands on none of the pages I have read.",
    "Sorry, I don't know.",
)

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


def asked_for(relation: str, choose: Callable[[Sequence[str]], str]) -> str:
    """One of the wordings in QUESTIONS, of each kind as often; never one that examination uses. {c} and {C} stay."""
    ways = QUESTIONS[relation]
    while True:
        kind = choose(("noun", "direct", "clause"))
        if kind == "noun":
            template = noun_question(choose(ways.nouns), choose, be="are" if ways.plural else "is")
        elif kind == "direct":
            template = spoken(choose(ways.direct), choose)
        else:
            template = spoken(choose(CLAUSE_FRAMES).replace("{w}", choose(ways.clauses)), choose)
        if template not in UNSEEN_QUESTIONS[relation]:
            return template


def noun_question(noun: str, choose: Callable[[Sequence[str]], str], *, be: str = "is") -> str:
    """Ask for "capital", or, as a noun that says itself what it is of, for "country of {c}"."""
    if "{c}" in noun:
        frame = choose([frame for frame in NOUN_FRAMES if "{n} of {c}" in frame]).replace("{n} of {c}", noun)
    else:
        frame = choose(NOUN_FRAMES).replace("{n}", noun)
    return spoken(frame.replace("{be}", be), choose)


def spoken(pattern: str, choose: Callable[[Sequence[str]], str]) -> str:
    """Of every "[a|b]" in a pattern say one."""
    parts = re.split(r"\[(.*?)\]", pattern)
    return "".join(choose(part.split("|")) if at % 2 else part for at, part in enumerate(parts))


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
