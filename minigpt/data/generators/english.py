"""Forms of plain English words: the tenses of verbs, plurals, degrees of comparison."""

from __future__ import annotations

import re
from collections.abc import Callable

_IRREGULAR = """
        be was been| become became become| begin began begun| bite bit bitten| blow blew blown| break broke
        broken| bring brought brought| build built built| buy bought bought| catch caught caught| choose chose
        chosen| come came come| cost cost cost| creep crept crept| cut cut cut| dig dug dug| do did done| draw
        drew drawn| dream dreamed dreamed| drink drank drunk| drive drove driven| eat ate eaten| fall fell
        fallen| feed fed fed| feel felt felt| fight fought fought| find found found| fly flew flown| forget
        forgot forgotten| freeze froze frozen| get got got| give gave given| go went gone| grow grew grown| hang
        hung hung| have had had| hear heard heard| hide hid hidden| hit hit hit| hold held held| hurt hurt hurt|
        keep kept kept| know knew known| lay laid laid| lead led led| leave left left| lend lent lent| let let
        let| lie lay lain| light lit lit| lose lost lost| make made made| mean meant meant| meet met met| pay
        paid paid| put put put| read read read| ride rode ridden| ring rang rung| run ran run| say said said|
        see saw seen| sell sold sold| send sent sent| set set set| shake shook shaken| shine shone shone| shut
        shut shut| sing sang sung| slide slid slid| sit sat sat| sleep slept slept| smell smelled smelled| speak
        spoke spoken| spell spelled spelled| spend spent spent| stand stood stood| steal stole stolen| stick
        stuck stuck| sweep swept swept| swim swam swum| take took taken| teach taught taught| tear tore torn|
        tell told told| think thought thought| throw threw thrown| understand understood understood| wake woke
        woken| wear wore worn| win won won| write wrote written"""
"""Verbs with their past and their past participle."""
_VERBS = {base: (past, participle) for base, past, participle in map(str.split, _IRREGULAR.split("|"))}
_DOUBLING = """bat beg begin big chat chop clap cut dig drop fat fit forget get grab hit hop hot hug jog let mop
    nod pat pet plan put red rob rub run sad set shop shut sit skip slim slip spin step stop swim thin
    trap travel trip wag wet win wrap"""
"""Words whose last letter is doubled before an ending."""
_DOUBLED = frozenset(_DOUBLING.split())
_PLURALS = {
    "child": "children", "foot": "feet", "goose": "geese", "knife": "knives", "leaf": "leaves", "loaf": "loaves",
    "man": "men", "mouse": "mice", "policeman": "policemen", "sheep": "sheep", "shelf": "shelves", "thief": "thieves",
    "tooth": "teeth", "wolf": "wolves", "woman": "women", "fish": "fish", "deer": "deer", "fireman": "firemen",
    "snowman": "snowmen", "scarf": "scarves", "half": "halves", "potato": "potatoes", "tomato": "tomatoes",
    "hero": "heroes", "calf": "calves", "postman": "postmen", "elf": "elves", "person": "people",
}  # fmt: skip
_VOWELS = "aeiou"
_FIRST_WORD = re.compile("[a-z]+")


def third(phrase: str) -> str:
    """Return a verb phrase as he, she or it does it.

    >>> [third(phrase) for phrase in ("go home", "play chess", "carry it", "have a cat", "watch")]
    ['goes home', 'plays chess', 'carries it', 'has a cat', 'watches']
    """
    return _changed(
        phrase, lambda verb: {"have": "has", "be": "is"}.get(verb) or plural(verb, {"go": "goes", "do": "does"})
    )


def past(phrase: str) -> str:
    """Return a verb phrase in the past.

    >>> [past(phrase) for phrase in ("go home", "stop here", "carry it", "bake a cake")]
    ['went home', 'stopped here', 'carried it', 'baked a cake']
    """
    return _changed(phrase, lambda verb: _VERBS[verb][0] if verb in _VERBS else _regular_past(verb))


def participle(phrase: str) -> str:
    """Return a verb phrase as it follows `have`.

    >>> participle("see a bear")
    'seen a bear'
    """
    return _changed(phrase, lambda verb: _VERBS[verb][1] if verb in _VERBS else _regular_past(verb))


def ing(phrase: str) -> str:
    """Return a verb phrase that is going on.

    >>> [ing(phrase) for phrase in ("run", "bake a cake", "see", "lie down")]
    ['running', 'baking a cake', 'seeing', 'lying down']
    """
    return _changed(phrase, _ing)


def plural(noun: str, irregular: dict[str, str] = _PLURALS) -> str:
    """Return more than one.

    >>> [plural(noun) for noun in ("dog", "berry", "key", "box", "mouse", "school bag")]
    ['dogs', 'berries', 'keys', 'boxes', 'mice', 'school bags']
    """
    before, space, last = noun.rpartition(" ")
    if last in irregular:
        last = irregular[last]
    elif last.endswith("y") and last[-2:-1] not in _VOWELS:
        last = f"{last[:-1]}ies"
    else:
        last += "es" if last.endswith(("s", "x", "z", "ch", "sh")) else "s"
    return f"{before}{space}{last}"


def comparative(adjective: str, ending: str = "er") -> str:
    """Return a short adjective with `er`, or another ending.

    >>> [comparative(adjective) for adjective in ("big", "nice", "happy", "old")] + [comparative("small", "est")]
    ['bigger', 'nicer', 'happier', 'older', 'smallest']
    """
    stem = _doubled(adjective)
    return f"{stem[:-1] + 'i' if stem.endswith('y') else stem.removesuffix('e')}{ending}"


def _changed(phrase: str, change: Callable[[str], str]) -> str:
    verb = _FIRST_WORD.match(phrase)
    assert verb, f"{phrase} begins with no verb"
    return f"{change(verb[0])}{phrase[verb.end() :]}"


def _doubled(word: str) -> str:
    return word + word[-1] if word in _DOUBLED else word


def _regular_past(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return f"{verb[:-1]}ied"
    return f"{_doubled(verb).removesuffix('e')}ed"


def _ing(verb: str) -> str:
    if verb.endswith("ie"):
        return f"{verb[:-2]}ying"
    return f"{verb if verb.endswith('ee') or verb == 'be' else _doubled(verb).removesuffix('e')}ing"
