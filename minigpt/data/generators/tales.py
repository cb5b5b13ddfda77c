"""Tales: an endless book of little stories, in the English of a pupil.

Half of the pieces are stories with a hero and a friend: some play in the forest, with a problem that has a reason, a
rhyme that recurs and an ending that follows from it; some play at school, at home or in town. The others are what a
pupil writes: diaries, letters, conversations, questions and answers, sums, and exercise books of single sentences. So
there is something to learn at every distance: spelling and quotation marks, `was` after a bell and `were` after boots,
`he` or `she` depending on the name, and names and rhymes that recur within a story.

The grammar is the rules below over the words of tales_words.py; grammar.py says what a template means. Each choice is a
keyed draw, so the text depends only on the seed, not on the platform or the Python version. A longer book begins with
the shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import count

from minigpt.data.generators.english import comparative, ing, participle, past, plural, third
from minigpt.data.generators.generator import CorpusGenerator
from minigpt.data.generators.grammar import Grammar, keyed_draws
from minigpt.data.generators.tales_words import (
    ABSTRACTS,
    ACTIVITIES,
    BODY,
    BOYS,
    BUILDINGS,
    CLOTHES,
    COLOURS,
    COUNTRIES,
    CROWDS,
    DEEDS,
    DRINKS,
    FARM,
    FEELINGS,
    FEMALE_FAMILY,
    FOODS,
    FOREST,
    GIRLS,
    HOUSE_THINGS,
    INSTRUMENTS,
    JOBS,
    LANGUAGES,
    LONG_QUALITIES,
    MALE_FAMILY,
    MEALS,
    MONTHS,
    NATURE_THINGS,
    NATURES,
    NUMBERS,
    ONE_FOOD,
    PAIRS,
    PERSON_QUALITIES,
    PETS,
    PLURAL_TREASURES,
    QUALITIES,
    ROOMS,
    SCHOOL_THINGS,
    SEASONS,
    SHORT_QUALITIES,
    SPORTS,
    SUBJECTS,
    SURNAMES,
    TOWN_PLACES,
    TOYS,
    TREASURES,
    VEHICLES,
    WEATHER,
    WEEKDAYS,
    WILD,
    phrases,
)  # fmt: skip

TALE_SEPARATOR = "\n\n"
_TALES_IN_A_BOOK = 8
ENTROPY_BITS_PER_CHAR = 0.741959
"""The entropy rate of the grammar; a test computes it, which takes a second."""

_PERSON = ("he", "him", "his", "himself", "was", "am")
"""Columns of a subject, besides the words for it themselves."""
_SHE, _HE, _IT = "she;her;her;herself;was;is", "he;him;his;himself;was;is", "it;it;its;itself;was;is"
_I, _WE = "I;me;my;myself;was;am", "we;us;our;ourselves;were;are"
_THEY, _YOU = "they;them;their;themselves;were;are", "you;you;your;yourself;were;are"
_ALL = "they;them;their;themselves;was;is"

_WHO_AND_WHAT = {
    "name": """
        {girl}| {boy}
    """,
    "family": """
        {she_family}| {he_family}
    """,
    "person": """
        4*{name}| 3*my {family}| 2*the {job}| the teacher| {Mr|Mrs} {surname}
    """,
    "my": """
        5*my| our| your| his| her| their
    """,
    "anyone": """
        3*{person}| me| him| her| us| them| you| it| everybody| {s.his} {friend|friends|parents|family}
    """,
    "a_thing": """
        3*the {thing}| 3*{a thing}| 3*{s.his} {thing}| 2*{a quality} {thing}| the {quality} {thing}| {things}
    """,
    "a_noun": """
        4*the {noun}| 3*{a noun}| 2*{a quality} {noun}| 2*the {quality} {noun}| 2*{s.his} {noun}| {nouns}| the
        {nouns}| {number} {nouns}
    """,
    "the_noun": """
        5*the {noun}| 3*my {noun}| the {quality} {noun}| our {noun}| {name}'s {noun}| the {food}
    """,
    "the_nouns": """
        3*the {nouns}| 2*my {nouns}| {nouns}| the {animals}| my {pair}
    """,
}
"""Persons and things."""

_WHEN_AND_WHERE = {
    "clock": """
        3*{hour} o'clock| half past {hour}| {7|8|9|10|11|12|1|2|3|4|5|6}:{00|15|30|45}
    """,
    "where": """
        6*in the {place}| 3*at the {place}| 2*near the {place}| at school| at home| in {country}| on the {noun}|
        under the {thing}| behind the {noun}| next to the {noun}| in {my} {room|bag|bed|class|house|garden}| outside|
        there
    """,
    "then": """
        3*yesterday| 2*on {weekday}| 2*last {week|night|year|summer|weekend|{weekday}}| in {month}| at {clock}| after
        {school|lunch|dinner|breakfast}| in the {morning|afternoon|evening}| {number} {days|weeks|years|minutes} ago|
        this {morning|week}| for {number} {minutes|hours|days}| one day| all {day|night}| today
    """,
    "now": """
        3*every {day|week|year|morning|evening|{weekday}}| 2*on {weekday}| in the {morning|afternoon|evening}| after
        {school|lunch|dinner|breakfast}| at {clock}| at {night|the weekend}| in {{season}|{month}}| today| now| again
    """,
    "soon": """
        3*tomorrow| 2*on {weekday}| next {week|year|summer|weekend|{weekday}}| soon| tonight| this
        {afternoon|evening|weekend}| in {number} {days|weeks|minutes}| after {school|lunch|dinner}| one day
    """,
}
"""Places and times. After a verb in the past comes `then`, in the present `now`, in the future `soon`."""

_CLAUSES = {
    "state": """
        4*{being}| 2*very {being}| so {being}| too {being}| {where}| {number} years old
    """,
    "kind": """
        4*{quality}| 2*very {quality}| so {quality}| too {quality}| {where}| {comparative} than {the_noun}
    """,
    "past": """
        6*{s=many}{s} {did}| 4*{s=one}{s} {did}| {s=many}{s} {did} {where}| {s=one}{s} {did} {where}| {s=many}{s}
        {s.was} {state}| {s=one}{s} {s.was} {state}| {{s=many}|{s=one}}{s} {didn't|did not|couldn't|could not} {do}|
        {{s=many}|{s=one}}{s} {wanted to|had to|could|tried to|went to} {do}| {{s=many}|{s=one}}{s} {s.was} {doing}|
        2*{thing_past}
    """,
    "thing_past": """
        4*{the_noun} was {kind}| 2*{the_nouns} were {kind}| there was {a noun} {where}| there were {number} {nouns}
        {where}| it was {weather}| it {rained|snowed}| the {bus|train|sun|moon} was {kind}
    """,
    "pres": """
        6*{s=many}{s} {do}| 4*{s=one}{s} {does}| 2*{s=many}{s} {s.am} {state}| 2*{s=one}{s} {s.am} {state}| {s=many}{s}
        {don't|do not} {do}| {s=one}{s} {doesn't|does not} {do}| {{s=many}|{s=one}}{s} {can|can't|must|should} {do}|
        {s=many}{s} {want to|have to|like to} {do}| {s=one}{s} {wants to|has to|likes to} {do}| {s=many}{s}
        {like|love|hate} {doing}| {s=one}{s} {likes|loves|hates} {doing}| {{s=many}|{s=one}}{s} {s.am} {doing}|
        {s=me}I'm {state}| 2*{thing_pres}| 2*{favourite}
    """,
    "thing_pres": """
        4*{the_noun} is {kind}| 2*{the_nouns} are {kind}| there is {a noun} {where}| there are {number} {nouns} {where}|
        it is {weather}| it is {raining|snowing}| it is {clock}| this is {the_noun}| {animals} {can|can't} {simple_it}|
        {the_noun} costs {number} {euros|pounds|dollars}
    """,
    "simple_it": """
        fly| swim| climb| talk| run| jump| sing
    """,
    "favourite": """
        my {favourite|favorite} food is {food}| my {favourite|favorite} subject is {subject}| my {favourite|favorite}
        sport is {sport}| my {favourite|favorite} {colour|color} is {colour}| my {favourite|favorite} animal is the
        {animal}| my name is {name}| my birthday is in {month}| my {favourite|favorite} {noun} is {kind}
    """,
    "fut": """
        5*{s=many}{s} {will|won't} {do}| 4*{s=one}{s} {will|won't} {do}| {s=many}{s} {s.am} going to {do}| {s=one}{s}
        {s.am} going to {do}| {{s=many}|{s=one}}{s} will be {state}| {the_noun} will be {kind}| it will be {weather}|
        it will {rain|snow}
    """,
}
"""Clauses, with neither a capital letter nor a full stop."""

_SENTENCES = {
    "told": """
        6*{Past}.| 4*{Past} {then}.| 3*{Then}, {past}.| 3*{Past} {and|but|so} {past}.| 2*{Past}, {and|but|so} {past}.|
        3*{Past} because {past}.| {Past} when {past}.| When {past}, {past}.| {Then|Later|Suddenly|First|In the end},
        {past}.| {{s=many}|{s=one}}{S} {s.was} so {being} that {past}.| {{s=many}|{s=one}}{S} {said|thought|knew} that
        {past}.| {speech}
    """,
    "now_told": """
        7*{Pres}.| 4*{Pres} {now}.| 2*{Now}, {pres}.| 2*{Pres} {and|but|so} {pres}.| {Pres}, {and|but} {pres}.|
        3*{Pres} because {pres}.| When {pres}, {pres}.| If {pres}, {pres}.| {Sometimes|Usually|Today|Maybe} {pres}.|
        I {think|know|hope} {|that }{pres}.| {s=many}{S} {always|never|often|sometimes} {do}.| {s=one}{S}
        {always|never|often|sometimes} {does}.
    """,
    "planned": """
        4*{Fut}.| 3*{Fut} {soon}.| 2*{Soon}, {fut}.| If {pres}, {fut}.| I {hope|think|know} {fut}.| {s=me}When I grow
        up, I want to be {a job}.
    """,
    "question": """
        4*{s=you}Do you {do}?| 3*{s=you}Did you {do}?| 3*{Can|Could} {you|we|I} {s=you}{do}?| Does {s=one}{s} {do}?| Did
        {s=one}{s} {do}?| 2*Where is {the_noun}?| Where are {the_nouns}?| Why {is|was} {the_noun} {so |}{quality}?| Why
        {is|was} {s=one}{s} {so |}{being}?| {s=you}Why {do|did|don't|didn't} you {do}?| What is your
        {favourite|favorite} {noun}?| What {did|do} you {do|see|eat|want} {where}?| How many {nouns} {are there|do you
        have}?| How {quality} is {the_noun}?| How old is {person}?| When is {the_noun}?| {What time is it|What is
        that|What is your name|How are you|Where are you|Who is that|Why not}?| Who {s=one}{did}?| {s=you}Have you ever
        {done}?| Is {the_noun} {kind}?| {s=you}Are you {state}?| {s=you}What are you {doing}?| {s=me}May I {do}?| Is
        there {a noun} {where}?| {s=you}Would you like {some {food}|{a one_food}|to {do}}?| Will {s=one}{s} {do}?
    """,
    "call": """
        {s=you}Please {do}.| 2*{s=you}{Do}!| {s=you}Don't {do}!| 2*{s=we}Let's {do}!| What {a quality} {noun}!| {Happy
        birthday|Good morning|Good night|Good luck|Thank you|Hello|Hi|Goodbye|Oh no|Help|Stop|Look|Sorry|Hurry
        up|Well done|See you {soon|tomorrow|on {weekday}}}{!|, {name}!}
    """,
    "remark": """
        3*{Pres}.| 2*{Fut}.| {Past}.| 2*{question}| {call}
    """,
    "remark_in": """
        3*{Pres},| 2*{Fut},| {Past},| 2*{question}
    """,
    "speech": """
        "{Remark_in}" {said|asked} {s=one}{s}.| {s=one}{S} {said|asked}, "{Remark}"
    """,
    "list": """
        {Nouns}, {nouns} and {nouns}.| {I|We} {have|need|bought|saw} {a noun}, {a noun} and {a noun}.| {I|We}
        {have|need|bought|like} {food}, {food} and {food}.
    """,
    "sentence": """
        8*{told}| 8*{now_told}| 3*{planned}| 4*{question}| {call}| {sum}| {list}
    """,
}
"""Sentences."""

_FOREST = {
    "home": """
        at the edge of the forest| at the end of a long lane| behind the old mill| beside a slow green river| by the
        sea| in a hollow oak| in a house with a blue door| in a quiet village| near a round pond| on a windy hill|
        under a stone bridge| under the roots of a beech| at the foot of a mountain| in a yellow tent| on a small
        island| next to a bakery| in an old lighthouse| between two tall pines| in a little flat above a shop| in a
        garden full of roses
    """,
    "spot": """
        among the reeds| behind the barn| behind the garden wall| beside the stream| by the well| in the apple tree|
        in the baker's yard| in the hay| in the long grass| inside the old boat| near the beehives| on the bridge|
        under the bed| under the bench| under the stairs| up in the attic| in the cellar| behind the curtain| under
        the carpet| in the kitchen drawer| on top of the cupboard| behind the bus stop| in the school bag| at the
        playground| under the sofa| in the washing basket
    """,
    "rhyme": """
        Step by step and stone by stone, nobody ever walks alone| High and low and to and fro, round the hill and
        home we go| One for the sun and two for the rain, what goes away will come again| Left foot, right foot, do
        not stop, soon we will be at the top| Tick and tock and tick and tock, patience opens every lock| Wind may
        blow and rain may fall, a little friend is best of all| Drip, drop, drip, drop, every storm will have to
        stop| Hush, little heart, and do not fear, morning is already near| Bit by bit and day by day, even
        mountains move away| Share the bread and share the jam, that is just the way I am| Over the river and under
        the moon, far is near and late is soon| Try it once and try it twice, trying again is good advice| Rain on
        the roof and sun on the wall, there is a place here for us all| Spin the wheel and turn the key, what is
        lost will come to me| A cup of tea and a slice of cake, this is the time for dreams to wake| Slow and
        steady, brave and kind, leave your worries far behind| Count to ten and count again, after the storm comes
        the end of rain| Hand in hand and side by side, there is no need to run and hide| Sing it loud and sing it
        clear, every friend is welcome here| Up the ladder and down the stair, look for kindness everywhere
    """,
    "mishap": """
        the wind carried {t.it} off;at the top of the {old pine|apple tree|church tower}| a magpie took {t.it}
        because {t.it} {t.was} so pretty;in the magpie's nest| {t.it} fell through a hole in {h.his} {bag|basket|
        pocket};in the middle of the {path|road|field}| the stream washed {t.it} away;{among the reeds|behind the
        water wheel|under the bridge}| a puppy dragged {t.it} away to play;in the puppy's basket| the snow covered
        {t.it};under the {melting|soft|white} snow| {h.he} left {t.it} on the {bus|train|beach|bench};in the box for
        lost things| a {crow|squirrel|fox|goat} ran away with {t.it};behind the {garage|hedge|barn}
    """,
    "trouble": """
        in the mud;the rain had made the path soft;a long {branch|rope|ladder}| in a deep hole;leaves had covered
        it;a strong rope| on the roof;the ladder had fallen over;the ladder| on a rock in the river;the water had
        risen;{a small boat|an old raft}| in a thorn bush;{f.he} had chased a butterfly;{a pair of scissors|a thick
        glove}| up in a tree;climbing up is easier than climbing down;a {long|tall} ladder| behind a heavy door;the
        key had broken in the lock;a {big hammer|new key}| in the {attic|cellar};the light had gone out;a {torch|
        lamp|candle}
    """,
    "fear": """
        heard a {tapping|knocking|scratching} at the door;had forgotten {f.his} key| heard a {long|low|deep} moan in
        the chimney;had come to sweep it| saw two {green|yellow|bright} eyes in the dark;could not sleep either| saw
        a {big|long|strange} shadow on the wall;was carrying a lantern| heard a {rumble|growl} under the floor;had
        an empty belly| heard a {splash|plop} in the well;had dropped a bucket| heard {steps|voices|music} in the
        kitchen;was making a sandwich
    """,
    "project": """
        a boat;{planks|logs};nails;a sail;sail to the island| a house for the birds;straw;twigs;a {little|round}
        door;keep them warm in winter| a big soup;carrots;onions;a pinch of salt;feed the whole village| a
        kite;paper;string;a {long|bright} tail;see the hill from above| a bridge;stones;ropes;strong boards;cross
        the stream with dry feet| a warm blanket;wool;yarn;a needle;sleep well when it snows| a
        pizza;flour;tomatoes;a piece of cheese;have a party| a robot;wires;wheels;an old radio;play chess on rainy
        days
    """,
    "meeting": """
        {Then|Just then|After a while|At last} {f} the {k2} came {by|along|up the path|over the bridge}.| {On the
        way|Near the well|At the gate|By the mill} {h.he} met {f}, the {n2} {k2}.
    """,
    "opening": """
        {Once upon a time|Once|Long ago|Many years ago} there {was|lived} {a n} {k} called {h}. {h.He} lived {home}
        {and was never bored|with {h.his} {mother|father|grandmother|six sisters|two brothers}|all alone}.| {Once
        upon a time|Once|Long ago}, {home}, there lived {a n} {k}. {h.His} name was {h}, and {h.he} {liked to sing|
        loved the rain|knew every path|counted the stars|asked a great many questions}.| {h} was {a n} {k} who lived
        {home}. {Everybody knew {h.him}|Nobody was as {n} as {h}|{h.His} best friend was {f} the {k2}}.
    """,
    "closing": """
        From that day on {h} and {f} were {the best of friends|never far apart|friends for ever}.| That night {h}
        slept {well|deeply|like a stone}, and {f} did too.| "{r}," they sang together, {all the way home|until the
        moon came up|and the {owls|crickets|frogs} sang along}.| And if you go there {today|in spring|at night}, you
        can still hear {h} sing: "{r}."| "{What a day|What luck|Now I know}," said {h}. And {f} {laughed|smiled|
        nodded}.| {h} never forgot it, and neither did {f}.
    """,
    "plot": """
        {t=treasure}{m=mishap}{p=spot}{p2=spot!p}{h.He} had {t.some} and loved {t.them} very much. One {windy|grey|
        cold|bright} {morning|afternoon|evening} {m}. "{Oh no|Oh dear|How sad}," said {h}, "where {t.is} my {t}?" /
        {h.He} looked {p}, but {t.it} {t.was} not there. {h.He} looked {p2}, but {t.it} {t.was} not there. "{r},"
        {h.he} sang, and {h.he} {went on looking|did not give up}. / {meeting} "{Why are you so sad|What are you
        looking for|What is wrong}?" asked {f}. "I have lost my {t}," said {h}. "{Do not cry|Come with me|Dry your
        eyes}," said {f}, "{four eyes see more than two|I will help you|we will find {t.them}}." So they looked
        together, and there {t.it} {t.was}, {m.found}! {h} was so {happy|glad} that {h.he} {jumped for joy|danced on
        the spot|hugged {f}}.| {x=trouble}{t=treasure}One day {h.he} heard a {small|thin|sad} voice. "Help!" it
        {cried|called}. "{Help me|Please come}, I am stuck!" It was {f} the {k2}. {f.He} sat {x} and could not get
        {out|away}, because {x.reason}. / "{Wait|Hold on|Do not move}," said {h}. {h.He} ran home {as fast as {h.he}
        could|at once} and came back with {x.tool}. "{r}," {h.he} sang, and {h.he} pulled and pushed until {f} was
        free. / "{Thank you|You saved me|How good you are}, {h}," said {f}. "{Some day|One day} I will help you
        too." And {f.he} gave {h} {t.some}, because {f.he} had nothing else to give.| {x=fear}One {dark|stormy|cold|
        foggy} night {h.he} could not sleep, because {h.he} heard {a tale of {giants|wolves|ghosts}|the rain on the
        roof|the clock}. Then {h.he} {x}! "{Who is there|What is that}?" {whispered|asked} {h}, and {h.he} pulled
        the blanket over {h.his} {ears|head|nose}. / "{r}," {h.he} sang to {h.himself}, and with every word {h.he}
        grew a little braver. So {h.he} took a {candle|lantern} and went to see. / It was only {f} the {k2}, who
        {x.truth}. "{Did I frighten you|Are you afraid|Why are you so pale}?" asked {f}. "{Only a little|Not any
        more|Not at all}," said {h}, and {h.he} {laughed|smiled} because {h.he} had been afraid of a friend.|
        {x=project}{c=creature}{c2=creature!c}One {fine|quiet|sunny} day {h} said, "I will make {x}. Then I can
        {x.purpose}." But {h.he} had no {x.one}, no {x.two} and not even {x.three}. / {h.He} asked {f} the {k2}. "I
        have {x.one}," said {f}, "and you may have some, if I may help." {h.He} asked the {c}. "I have {x.two},"
        said the {c}, "take what you need." {h.He} asked the old {c2}. "I have {x.three}," said the old {c2}, "I
        kept it for you." / "{r}," sang {h} while {h.he} worked, and {f} {hummed|sang} along. It took {two|three|
        five|seven} days. When it was done, {h} could {x.purpose}, and so could {f}, because {f.he} had helped.|
        {e=food}{e2=food!e}In {winter|autumn|spring} {h} made {e}. It smelled so good that {f} the {k2} stopped at
        the door. "{I have had nothing all day|My pot is empty|I am so hungry}," said {f}. {h} had only a little,
        but {h.he} gave half of it away. "{r}," said {h}. / A {month|week|year} later {h} lay in bed with a {cold|
        fever|sore foot} and could not cook. {Tap, tap|Knock, knock|Rat tat}! {f} stood at the door with {e2}. "You
        shared with me, so I share with you," said {f}. "{r}." And {h} {ate it all|felt better at once|was well
        again the next day}.| {e=food}{f} the {k2} said, "I am {faster|quicker} than anybody." "{We shall see|Let us
        race|Maybe}," said {h}, and so they ran from the {gate|mill|well} to the {bridge|old oak|river}. / {f} was
        far ahead, so {f.he} lay down {in the shade|under a tree|by the road} to rest. {h} was {slow|tired|not
        fast}, but {h.he} did not rest. "{r}," {h.he} sang, step after step. {f} was fast asleep and did not hear
        it. / When {f} woke up, {h} already sat at the end of the road and ate {e}. "{How can that be|How did you do
        it}?" asked {f}. "You are fast," said {h}, "but I did not stop." {f} was {quiet|ashamed} for a while. Then
        {f.he} {laughed|smiled}, and they shared the {e}.| {t=treasure}{p=spot}{h} and {f} the {k2} found {t.some}
        {p}. "{t.It} {t.is} mine," said {h}. "No, {t.it} {t.is} mine," said {f}. They pulled and pulled until there
        was a {crack|snap|rip}, and {t.it} {t.was} broken. / Now both of them were sad. {h} went home and {f} went
        home, and nobody sang. "{I was wrong|I am sorry|It was my fault}," said {h} to {h.himself}. In the morning
        {h.he} took some {glue|thread|string} and went to find {f}, but {f} was already at the door with some
        {paste|wire|wax}. / "{r}," said {h}. They sat down and mended the {t} together. After that {t.it} {t.was}
        {h}'s on one day and {f}'s on the next.
    """,
    "forest": """
        {h=hero}{f=hero!h}{k=creature}{k2=creature!k}{n=nature}{n2=nature!n}{r=rhyme}{opening} / {plot} / {closing}
    """,
}
"""Stories that play in the forest."""

_PIECES = {
    "h_line": """
        5*{s=h}{h.He} {did}.| 2*{s=h}{H} {did}.| {s=h}{h.He} was {state}.| {s=h}{h.He} {did} {where}.| {s=h}{h.He} {did}
        because {past}.| {s=h}{h.He} {wanted to|had to|could not|did not} {do}.| {s=h}Then {h.he} {did}.| {Thing_past}.|
        {s=h}"{Remark_in}" said {h}.
    """,
    "f_line": """
        4*{s=f}{F} {did}.| {s=f}{F} was {state}.| {s=f}Then {f} {did}.| {s=f}{F} {wanted to|had to|could not|did not}
        {do}.| {s=f}"{Remark_in}" said {f}.
    """,
    "b_line": """
        4*{s=they}They {did}.| {s=they}{H} and {f} {did}.| {s=they}They were {state}.| {s=they}Together they {did}.|
        {s=we}"Let's {do}!" said {{h}|{f}}.
    """,
    "intro": """
        {s=h}{Then}, {h} {did}.| {s=they}{Then}, {h} and {f} {did}.| {s=h}{H} was {state}.| {s=h}{H} is {number} years
        old.| {H} and {f} were {friends|best friends|neighbours|in the same class}.
    """,
    "ending": """
        {s=h}That {day|night} {h} {did}.| {s=they}In the end they {did}.| "{What a day|That was fun|Thank you|See you
        tomorrow}," said {h}.| {s=they}From that day on, they {did} every {day|week|{weekday}}.| {H} and {f} were
        {state}.
    """,
    "scene": """
        {h_line} {f_line}| {h_line} {h_line}| {b_line} {h_line}| {f_line} {h_line}| {talk}| {b_line} {f_line}
    """,
    "talk": """
        "{Question}" asked {h}. "{Answer}," said {f}.| "{Question}" asked {f}. "{Answer}," said {h}.
    """,
    "answer": """
        {Yes|No|Of course|Maybe|I don't know|Not yet}| 2*{Pres}| {Past}| Because {pres}| Because {past}| At {clock}| On
        {weekday}| {Number}
    """,
    "story": """
        {h=hero}{f=hero!h}{intro} {scene} / {scene} {ending}| {h=hero}{f=hero!h}{intro} {scene} {ending}
    """,
    "diary": """
        {Diary_head}{my_line} {my_line} {my_line} {told}| {Diary_head}{told} {my_line} {told} {planned}
    """,
    "my_line": """
        4*{s=me}I {did}.| 2*{s=we}We {did}.| {s=me}I {did} {then}.| {s=we}We {did} {then}.| {Then}, {s=we}we {did}.|
        {Then}, {s=me}I {did}.| {s=me}I was {state}.| {Thing_past}.| {s=me}I {could not|had to|wanted to|didn't} {do}.
    """,
    "letter": """
        {Dear|Hello|Hi} {{name}|grandma|grandpa|mum|dad}, / {my_line} {my_line} {now_told} {question} {planned} /
        {Love|Yours|See you soon|Bye}, {name}
    """,
    "conversation": """
        {h=hero}{f=hero!h}{H}: {question} / {F}: {Answer}. {question} / {H}: {Answer}. {now_told}|
        {h=hero}{f=hero!h}"{Question}" asked {h}. / "{Answer}," said {f}. "{Question}" / "{Answer}," said {h}.
    """,
    "lesson": """
        {sum} / {sum} / {sum}| {question} {Answer}. / {question} {Answer}.| {now_told} {now_told} {now_told}| {planned}
        {planned}| {list} {list}
    """,
    "exercise": """
        {sentence}| {sentence} {sentence}| {sentence} {sentence} {sentence}| {sentence} / {sentence} / {sentence}
    """,
    "tale": """
        {forest}| 10*{story}| 8*{diary}| 4*{conversation}| 4*{letter}| 6*{lesson}| 28*{exercise}
    """,
}
"""Everyday stories, and what a pupil writes."""

_COLUMNS = {
    "treasure": ("it", "them", "was", "is", "some"),
    "mishap": ("found",),  # what happens to the thing, and where it is in the end
    "trouble": ("reason", "tool"),  # where the friend is caught, why, and what the hero helps with
    "fear": ("truth",),  # what frightens the hero, and why the friend was it
    "project": ("one", "two", "three", "purpose"),  # what the hero makes, of what three things, and what for
}
"""Further columns of the rules of the forest."""
_DIARY_HEADS = ("", "Dear diary,", "{Weekday}, {month} {number}.", "Today was {a quality} day.")


def _rows(columns: str, subjects: str) -> list[str]:
    """Return subjects that have the same further columns."""
    return [f"{subject};{columns}" for subject in phrases(subjects)]


def _subjects() -> dict[str, Sequence[str]]:
    """Return who does something: `one` with a verb in -s, `many` with a verb in its base form."""
    heroes = [*(f"{name};{_SHE}" for name in GIRLS), *(f"{name};{_HE}" for name in BOYS)]
    return {
        "hero": heroes,
        "one": [
            *heroes,
            *_rows(_SHE, "30*she| 40*my {she_family}| 5*our teacher| 5*Mrs {surname}| 12*the {job}"),
            *_rows(_HE, "30*he| 40*my {he_family}| 5*my best friend| 5*Mr {surname}| 12*the {job}"),
            *_rows(_IT, "20*the {animal}| 10*my {pet}| 4*{a animal}"),
            *_rows(_ALL, "4*everybody| 3*nobody"),
        ],
        "many": [
            *_rows(_I, "60*I"),
            *_rows(_WE, "26*we| 4*my {family} and I| 2*{name} and I"),
            *_rows(_YOU, "6*you"),
            *_rows(_THEY, "14*they| 6*the {crowd}| 6*my {friends|parents|grandparents}| 4*{name} and {name}"),
            *_rows(_THEY, "4*the {animals}| 3*{animals}| 2*{number} {animals}"),
        ],
        "me": [f"I;{_I}"],
        "we": [f"we;{_WE}"],
        "you": [f"you;{_YOU}"],
        "they": [f"they;{_THEY}"],
    }


def _words() -> dict[str, Sequence[str]]:
    """Return the rules that are lists of words."""
    things = tuple(dict.fromkeys((*SCHOOL_THINGS, *HOUSE_THINGS, *TOYS, *CLOTHES)))
    animals = (*PETS, *FARM, *FOREST, *WILD)
    others = (*NATURE_THINGS, *ABSTRACTS, *VEHICLES, *BUILDINGS, *animals)
    nouns = {"thing": things, "animal": animals, "noun": tuple(dict.fromkeys((*things, *others)))}
    return {
        **nouns,
        **{f"{name}s": tuple(dict.fromkeys(map(plural, several))) for name, several in nouns.items()},
        "girl": GIRLS, "boy": BOYS, "surname": SURNAMES, "she_family": FEMALE_FAMILY, "he_family": MALE_FAMILY,
        "job": JOBS, "crowd": CROWDS, "pet": PETS, "food": FOODS, "one_food": ONE_FOOD, "drink": DRINKS, "meal": MEALS,
        "garment": CLOTHES, "pair": PAIRS, "body": BODY, "vehicle": VEHICLES, "building": BUILDINGS,
        "quality": QUALITIES, "being": tuple(dict.fromkeys((*FEELINGS, *PERSON_QUALITIES))), "weather": WEATHER,
        "colour": COLOURS, "nature": NATURES, "weekday": WEEKDAYS, "month": MONTHS, "season": SEASONS,
        "country": COUNTRIES, "language": LANGUAGES, "place": tuple(dict.fromkeys((*TOWN_PLACES, *ROOMS))),
        "activity": ACTIVITIES, "sport": SPORTS, "instrument": INSTRUMENTS, "subject": SUBJECTS,
        "creature": [*FOREST, *FARM[:12], "cat", "dog", "mouse", "rabbit", "turtle", "pony", "kitten"],
        "treasure": [
            *(f"2*{thing};it;it;was;is;{'an' if thing[0] in 'aeiou' else 'a'} {thing}" for thing in TREASURES),
            *(f"{things};they;them;were;are;some {things}" for things in PLURAL_TREASURES),
        ],
        "comparative": [*map(comparative, SHORT_QUALITIES), *(f"more {word}" for word in LONG_QUALITIES), "better"],
    }  # fmt: skip


def _deeds() -> dict[str, Sequence[str]]:
    """Return what people do, in five forms."""
    return {
        "do": DEEDS,
        "does": [third(deed) for deed in DEEDS],
        "did": [past(deed) for deed in DEEDS],
        "doing": [ing(deed) for deed in DEEDS],
        "done": [participle(deed) for deed in DEEDS],
        "simple": [deed for deed in DEEDS if "{simple}" not in deed],
    }


def _numbers() -> dict[str, Sequence[str]]:
    digits = range(1, 11)
    return {
        "number": [*NUMBERS, *map(str, range(2, 101))],
        "small_number": [*NUMBERS[:9], *map(str, range(2, 11))],
        "hour": ["one", *NUMBERS[:11], *map(str, range(1, 13))],
        "sum": [
            *(f"What is {a} {{plus|+}} {b}? It is {a + b}." for a in digits for b in digits),
            *(f"{a} times {b} is {a * b}." for a in digits for b in digits),
        ],
    }


@cache
def tales_grammar() -> Grammar:
    """Return the grammar; a piece of the book is its rule `tale`."""
    texts = _WHO_AND_WHAT | _WHEN_AND_WHERE | _CLAUSES | _SENTENCES | _FOREST | _PIECES
    rules: dict[str, Sequence[str]] = {name: phrases(text) for name, text in texts.items()}
    rules |= _subjects() | _words() | _deeds() | _numbers()
    # the head of a diary ends with a space, if there is one
    rules["diary_head"] = [f"{head} " if head else "" for head in _DIARY_HEADS]
    subjects = dict.fromkeys(("hero", "one", "many", "me", "we", "you", "they"), _PERSON)
    return Grammar(rules, {**subjects, **_COLUMNS})


def generate_tales(num_chars: int, *, seed: int = 0) -> str:
    """Return the first characters of the endless book of tales.

    Pieces are separated by a blank line, their paragraphs by a line end. The last one may be cut off. All characters
    are ASCII, at most 75 different ones. A longer text with the same seed begins with the shorter one.

    Args:
        num_chars: Length of the text; may be 0.
        seed: Selects the book.

    >>> generate_tales(4000)[:500] == generate_tales(500)
    True
    """
    grammar = tales_grammar()
    tales: list[str] = []
    length = 0
    for number in count():
        if length >= num_chars:
            break
        tales.append(grammar.write("tale", keyed_draws(seed, number)))
        length += len(tales[-1]) + len(TALE_SEPARATOR)
    return TALE_SEPARATOR.join([*tales, ""])[: max(num_chars, 0)]


def _books(text: str) -> tuple[str, ...]:
    """Return documents of eight pieces: if each piece were a document, a model would always stop after one."""
    tales = text.split(TALE_SEPARATOR)
    books = (TALE_SEPARATOR.join(tales[n : n + _TALES_IN_A_BOOK]) for n in range(0, len(tales), _TALES_IN_A_BOOK))
    return tuple(book for book in books if book)


def entropy_bits_per_char() -> float:
    """Return the entropy rate of the derivations in bits per character, with the blank line after each piece.

    For the text it is an estimate from above, since some sentences have two derivations: `the baker` may be a she or a
    he, which only a pronoun after it tells, and `sleep in the kitchen` may be a deed, or a deed and a place.
    """
    return ENTROPY_BITS_PER_CHAR


TALES = CorpusGenerator(
    name="tales",
    title="Simple tales",
    description="Tales of the forest, and what a pupil tells and asks of school, home and town: plain English.",
    origin="minigpt's tale generator",
    write=generate_tales,
    documents=_books,
    grammar="Some hundred shapes of a sentence, with 2,800 different words. The subject decides on the verb and on "
    "his, her or their, and in a story two names come back. The entropy is that of the choices, an estimate from "
    "above: some sentences can be made in two ways.",
    entropy_bits_per_char=entropy_bits_per_char,
    is_entropy_estimated=True,
)
