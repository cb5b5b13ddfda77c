"""Tales: an endless book of simple tales from templates.

Every tale has a hero and a friend, a problem with a reason, direct speech, a rhyme that recurs, and an ending that
follows from it. So there is something to learn at every distance: spelling and quotation marks, `was` after a bell and
`were` after boots, `he` or `she` depending on the name, and names and rhymes that recur within a tale.

The tales are made from templates. `{a|b}` is a choice, `{name}` is replaced, and choices can be nested. Each choice is
one keyed integer draw, so the text depends only on the seed, not on the platform or the Python version. A longer book
begins with the shorter one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from typing import TypeVar

from minigpt.data.generators.generator import TextGenerator
from minigpt.randomness import Stream, derive_key

T = TypeVar("T")
TALE_SEPARATOR = "\n\n"
_TALES_IN_A_BOOK = 8


def _words(text: str, separator: str | None = None) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(separator))


def _paragraphs(text: str) -> str:
    """Join the lines of a template into paragraphs; a blank line ends a paragraph."""
    return "\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


_SHE = _words("Ada Clara Edith Freya Greta Hazel Ivy Juno Lily Mia Nora Poppy Rosa Tilly Wren Zoe")
_HE = _words("Barnaby Ben Finn Hugo Jasper Kit Leo Max Ned Oscar Otto Pip Quentin Sam Tom Victor")
_ANIMALS = _words(
    """badger bear beaver cat crow dog donkey duck fox frog goat goose hare hedgehog hen kitten lamb mole mouse otter
    owl pig pony rabbit robin snail sparrow squirrel toad turtle"""
)
_NATURES = _words(
    """brave careful cheerful clever curious dreamy eager friendly gentle honest hungry jolly kind lively merry old
    patient polite quiet shy sleepy small stubborn thoughtful tiny young"""
)
_HOMES = _words(
    """at the edge of the forest|at the end of a long lane|behind the old mill|beside a slow green river|by the sea|
    in a hollow oak|in a house with a blue door|in a quiet village|near a round pond|on a windy hill|
    under a stone bridge|under the roots of a beech""",
    "|",
)
_PLACES = _words(
    """among the reeds|behind the barn|behind the garden wall|beside the stream|by the well|in the apple tree|
    in the baker's yard|in the hay|in the long grass|inside the old boat|near the beehives|on the bridge|
    under the bed|under the bench|under the stairs|up in the attic""",
    "|",
)
_ONE_THING = _words(
    """blue kite|brass bell|clay whistle|green umbrella|little drum|paper boat|red scarf|round mirror|silver key|
    small lantern|tin trumpet|wooden spoon|woollen hat|yellow balloon""",
    "|",
)
_MANY_THINGS = _words(
    """coloured marbles|dancing shoes|glass beads|new mittens|painted stones|red boots|silk ribbons|white feathers""",
    "|",
)
_FOODS = _words(
    """apple pie|barley bread|bean soup|blackberry jam|carrot cake|cherry pie|honey bread|mushroom soup|nut cake|
    oat porridge|pear tart|pumpkin soup""",
    "|",
)
_RHYMES = (
    "Step by step and stone by stone, nobody ever walks alone",
    "High and low and to and fro, round the hill and home we go",
    "One for the sun and two for the rain, what goes away will come again",
    "Left foot, right foot, do not stop, soon we will be at the top",
    "Tick and tock and tick and tock, patience opens every lock",
    "Wind may blow and rain may fall, a little friend is best of all",
    "Drip, drop, drip, drop, every storm will have to stop",
    "Hush, little heart, and do not fear, morning is already near",
    "Bit by bit and day by day, even mountains move away",
    "Share the bread and share the jam, that is just the way I am",
    "Over the river and under the moon, far is near and late is soon",
    "Try it once and try it twice, trying again is good advice",
)
_OPENINGS = (
    """{Once upon a time|Once|Long ago|Many years ago} there {was|lived} {a} {nature} {kind} called {hero}. {He} lived
    {home} {and was never bored|with {his} {mother|father|grandmother|six sisters|two brothers}|all alone}.""",
    """{Once upon a time|Once|Long ago}, {home}, there lived {a} {nature} {kind}. {His} name was {hero}, and {he}
    {liked to sing|loved the rain|knew every path|counted the stars|asked a great many questions}.""",
    """{hero} was {a} {nature} {kind} who lived {home}. {Everybody knew {him}|Nobody was as {nature} as {hero}|{His}
    best friend was {friend} the {kind2}}.""",
)
_CLOSINGS = (
    "From that day on {hero} and {friend} were {the best of friends|never far apart|friends for ever}.",
    "That night {hero} slept {well|deeply|like a stone}, and {friend} did too.",
    """\"{rhyme}," they sang together, {all the way home|until the moon came up|and the {owls|crickets|frogs} sang
    along}.""",
    'And if you go there {today|in spring|at night}, you can still hear {hero} sing: "{rhyme}."',
    '"{What a day|What luck|Now I know}," said {hero}. And {friend} {laughed|smiled|nodded}.',
    "{hero} never forgot it, and neither did {friend}.",
)
_MEETING = (
    "{Then|Just then|After a while|At last} {friend} the {kind2} came {by|along|up the path|over the bridge}.",
    "{On the way|Near the well|At the gate|By the mill} {he} met {friend}, the {nature2} {kind2}.",
)
_MISHAPS = (  # what happens to the thing, and where it is in the end
    ("the wind carried {it} off", "at the top of the {old pine|apple tree|church tower}"),
    ("a magpie took {it} because {it} {was} so pretty", "in the magpie's nest"),
    ("{it} fell through a hole in {his} {bag|basket|pocket}", "in the middle of the {path|road|field}"),
    ("the stream washed {it} away", "{among the reeds|behind the water wheel|under the bridge}"),
    ("a puppy dragged {it} away to play", "in the puppy's basket"),
    ("the snow covered {it}", "under the {melting|soft|white} snow"),
)
_TROUBLES = (  # where the friend is caught, why, and what the hero helps with
    ("in the mud", "the rain had made the path soft", "a long {branch|rope|ladder}"),
    ("in a deep hole", "leaves had covered it", "a strong rope"),
    ("on the roof", "the ladder had fallen over", "the ladder"),
    ("on a rock in the river", "the water had risen", "{a small boat|an old raft}"),
    ("in a thorn bush", "{he2} had chased a butterfly", "{a pair of scissors|a thick glove}"),
    ("up in a tree", "climbing up is easier than climbing down", "a {long|tall} ladder"),
)
_FEARS = (  # what frightens the hero, and why the friend was it
    ("heard a {tapping|knocking|scratching} at the door", "had forgotten {his2} key"),
    ("heard a {long|low|deep} moan in the chimney", "had come to sweep it"),
    ("saw two {green|yellow|bright} eyes in the dark", "could not sleep either"),
    ("saw a {big|long|strange} shadow on the wall", "was carrying a lantern"),
    ("heard a {rumble|growl} under the floor", "had an empty belly"),
    ("heard a {splash|plop} in the well", "had dropped a bucket"),
)
_PROJECTS = (  # what the hero makes, of what three things, and what for
    ("a boat", "{planks|logs}", "nails", "a sail", "sail to the island"),
    ("a house for the birds", "straw", "twigs", "a {little|round} door", "keep them warm in winter"),
    ("a big soup", "carrots", "onions", "a pinch of salt", "feed the whole village"),
    ("a kite", "paper", "string", "a {long|bright} tail", "see the hill from above"),
    ("a bridge", "stones", "ropes", "strong boards", "cross the stream with dry feet"),
    ("a warm blanket", "wool", "yarn", "a needle", "sleep well when it snows"),
)
_PLOTS = (
    # lost and found
    """{He} had {some_thing} and loved {them} very much. One {windy|grey|cold|bright} {morning|afternoon|evening}
    {mishap}. "{Oh no|Oh dear|How sad}," said {hero}, "where {is} my {thing}?"

    {He} looked {place}, but {it} {was} not there. {He} looked {place2}, but {it} {was} not there. "{rhyme}," {he}
    sang, and {he} {went on looking|did not give up}.

    {meeting} "{Why are you so sad|What are you looking for|What is wrong}?" asked {friend}. "I have lost my {thing},"
    said {hero}. "{Do not cry|Come with me|Dry your eyes}," said {friend}, "{four eyes see more than two|I will help
    you|we will find {them}}." So they looked together, and there {it} {was}, {found}! {hero} was so {happy|glad} that
    {he} {jumped for joy|danced on the spot|hugged {friend}}.""",
    # caught, and helped out
    """One day {he} heard a {small|thin|sad} voice. "Help!" it {cried|called}. "{Help me|Please come}, I am stuck!" It
    was {friend} the {kind2}. {He2} sat {caught} and could not get {out|away}, because {reason}.

    "{Wait|Hold on|Do not move}," said {hero}. {He} ran home {as fast as {he} could|at once} and came back with {tool}.
    "{rhyme}," {he} sang, and {he} pulled and pushed until {friend} was free.

    "{Thank you|You saved me|How good you are}, {hero}," said {friend}. "{Some day|One day} I will help you too." And
    {he2} gave {hero} {some_thing}, because {he2} had nothing else to give.""",
    # afraid, and brave
    """One {dark|stormy|cold|foggy} night {he} could not sleep, because {he} heard {a tale of {giants|wolves|ghosts}|the
    rain on the roof|the clock}. Then {he} {fear}! "{Who is there|What is that}?" {whispered|asked} {hero}, and {he}
    pulled the blanket over {his} {ears|head|nose}.

    "{rhyme}," {he} sang to {himself}, and with every word {he} grew a little braver. So {he} took a {candle|lantern}
    and went to see.

    It was only {friend} the {kind2}, who {truth}. "{Did I frighten you|Are you afraid|Why are you so pale}?" asked
    {friend}. "{Only a little|Not any more|Not at all}," said {hero}, and {he} {laughed|smiled} because {he} had been
    afraid of a friend.""",
    # made with the help of others
    """One {fine|quiet|sunny} day {hero} said, "I will make {project}. Then I can {purpose}." But {he} had no {part1},
    no {part2} and not even {part3}.

    {He} asked {friend} the {kind2}. "I have {part1}," said {friend}, "and you may have some, if I may help." {He} asked
    the {animal}. "I have {part2}," said the {animal}, "take what you need." {He} asked the old {animal2}. "I have
    {part3}," said the old {animal2}, "I kept it for you."

    "{rhyme}," sang {hero} while {he} worked, and {friend} {hummed|sang} along. It took {two|three|five|seven} days.
    When it was done, {hero} could {purpose}, and so could {friend}, because {he2} had helped.""",
    # shared, and shared with
    """In {winter|autumn|spring} {hero} made {food}. It smelled so good that {friend} the {kind2} stopped at the door.
    "{I have had nothing all day|My pot is empty|I am so hungry}," said {friend}. {hero} had only a little, but {he}
    gave half of it away. "{rhyme}," said {hero}.

    A {month|week|year} later {hero} lay in bed with a {cold|fever|sore foot} and could not cook. {Tap, tap|Knock,
    knock|Rat tat}! {friend} stood at the door with {food2}. "You shared with me, so I share with you," said {friend}.
    "{rhyme}." And {hero} {ate it all|felt better at once|was well again the next day}.""",
    # proud, and beaten in a race
    """{friend} the {kind2} said, "I am {faster|quicker} than anybody." "{We shall see|Let us race|Maybe}," said {hero},
    and so they ran from the {gate|mill|well} to the {bridge|old oak|river}.

    {friend} was far ahead, so {he2} lay down {in the shade|under a tree|by the road} to rest. {hero} was
    {slow|tired|not fast}, but {he} did not rest. "{rhyme}," {he} sang, step after step. {friend} was fast asleep and
    did not hear it.

    When {friend} woke up, {hero} already sat at the end of the road and ate {food}. "{How can that be|How did you do
    it}?" asked {friend}. "You are fast," said {hero}, "but I did not stop." {friend} was {quiet|ashamed} for a while.
    Then {he2} {laughed|smiled}, and they shared the {food}.""",
    # broken, and repaired
    """{hero} and {friend} the {kind2} found {some_thing} {place}. "{it_cap} {is} mine," said {hero}. "No, {it} {is}
    mine," said {friend}. They pulled and pulled until there was a {crack|snap|rip}, and {it} {was} broken.

    Now both of them were sad. {hero} went home and {friend} went home, and nobody sang. "{I was wrong|I am sorry|It was
    my fault}," said {hero} to {himself}. In the morning {he} took some {glue|thread|string} and went to find {friend},
    but {friend} was already at the door with some {paste|wire|wax}.

    "{rhyme}," said {hero}. They sat down and mended the {thing} together. After that {it} {was} {hero}'s on one day and
    {friend}'s on the next.""",
)
_FIELD = re.compile(r"\{([^{}]*)\}")


def generate_tales(num_chars: int, *, seed: int = 0) -> str:
    """Return the first characters of the endless book of tales.

    Tales are separated by a blank line, their paragraphs by a line end. The last tale may be cut off. All characters
    are ASCII, at most 60 distinct ones. A longer text with the same seed begins with the shorter one.

    Args:
        num_chars: Length of the text; may be 0.
        seed: Selects the book.

    >>> generate_tales(4000)[:500] == generate_tales(500)
    True
    """
    tales: list[str] = []
    length = 0
    for number in count():
        if length >= num_chars:
            break
        tales.append(_Tale(seed, number).write())
        length += len(tales[-1]) + len(TALE_SEPARATOR)
    return TALE_SEPARATOR.join([*tales, ""])[:num_chars]


def _books(text: str) -> tuple[str, ...]:
    """Return documents of eight tales: if each tale were a document, a model would always stop after one tale."""
    tales = text.split(TALE_SEPARATOR)
    books = (TALE_SEPARATOR.join(tales[n : n + _TALES_IN_A_BOOK]) for n in range(0, len(tales), _TALES_IN_A_BOOK))
    return tuple(book for book in books if book)


class _Tale:
    """One tale: its random draws, and the words that stay the same throughout."""

    def __init__(self, seed: int, number: int) -> None:
        self._seed, self._number, self._draws = seed, number, 0
        self._words: dict[str, str] = {}

    def write(self) -> str:
        """Choose the words of the tale, then fill in its templates."""
        words = self._words
        for suffix, role in (("", "hero"), ("2", "friend")):
            is_she = self._pick((True, False))
            words[role] = self._pick([name for name in (_SHE if is_she else _HE) if name != words.get("hero")])
            he, him, his = ("she", "her", "her") if is_she else ("he", "him", "his")
            words |= {f"he{suffix}": he, f"him{suffix}": him, f"his{suffix}": his}
            words |= {f"He{suffix}": he.capitalize(), f"His{suffix}": his.capitalize()}
            words[f"nature{suffix}"] = self._pick(_NATURES)
        words["a"] = _article(words["nature"])
        words["himself"] = f"{words['him']}self"
        kinds = [*_ANIMALS, "girl" if words["he"] == "she" else "boy"]
        words["kind"] = self._pick(kinds)
        for name in ("kind2", "animal", "animal2"):
            words[name] = self._pick([animal for animal in _ANIMALS if animal not in words.values()])
        words["place"] = self._pick(_PLACES)
        words["place2"] = self._pick([place for place in _PLACES if place != words["place"]])
        words["food"] = self._pick(_FOODS)
        words["food2"] = self._pick([food for food in _FOODS if food != words["food"]])
        words["rhyme"], words["home"] = self._pick(_RHYMES), self._pick(_HOMES)
        self._choose_thing()
        for names, rows in (
            (("mishap", "found"), _MISHAPS),
            (("caught", "reason", "tool"), _TROUBLES),
            (("fear", "truth"), _FEARS),
            (("project", "part1", "part2", "part3", "purpose"), _PROJECTS),
        ):
            words |= {name: self._expand(text) for name, text in zip(names, self._pick(rows), strict=True)}
        words["meeting"] = self._pick(_MEETING)
        return self._expand("\n".join(_paragraphs(self._pick(part)) for part in (_OPENINGS, _PLOTS, _CLOSINGS)))

    def _choose_thing(self) -> None:
        """Choose the thing of the tale, and the words that agree with it in number."""
        if self._pick((True, True, False)):
            thing = self._pick(_ONE_THING)
            self._words |= {"it": "it", "it_cap": "It", "them": "it", "was": "was", "is": "is"}
            self._words |= {"thing": thing, "some_thing": f"{_article(thing)} {thing}"}
        else:
            thing = self._pick(_MANY_THINGS)
            self._words |= {"it": "they", "it_cap": "They", "them": "them", "was": "were", "is": "are"}
            self._words |= {"thing": thing, "some_thing": f"some {thing}"}

    def _pick(self, options: Sequence[T]) -> T:
        self._draws += 1
        return options[derive_key(self._seed, Stream.SYNTHETIC, self._number, self._draws) % len(options)]

    def _expand(self, template: str) -> str:
        """Replace every field, innermost first."""
        while "{" in template:
            template = _FIELD.sub(self._fill, template)
        return template

    def _fill(self, field: re.Match[str]) -> str:
        options = field[1].split("|")
        return self._pick(options) if len(options) > 1 else self._words[field[1]]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


TALES = TextGenerator(
    name="tales",
    title="Simple tales",
    description="Little tales of animals and children from our own generator, the same for everybody and of any size.",
    origin="minigpt's tale generator",
    write=generate_tales,
    documents=_books,
)
