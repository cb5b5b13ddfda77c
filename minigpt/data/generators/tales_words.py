"""The words of the tales, by what they mean: names, nouns, describing words, and what people do.

A phrase of a verb begins with the verb in its base form; `{s.his}` and `{s.himself}` agree with whoever does it. The
other fields are rules of tales.py. No list has the same entry twice.
"""

from __future__ import annotations

import re

from minigpt.data.generators.grammar import alternatives

_LINE_END = re.compile(r"\| *\n\s*")


def words(text: str) -> tuple[str, ...]:
    """Divide a text at spaces."""
    return tuple(text.split())


def phrases(text: str) -> tuple[str, ...]:
    r"""Divide a text into templates at the bars outside of fields; a slash stands for a new line.

    >>> phrases("one| {two|\n    three} / four")
    ('one', '{two|three}\nfour')
    """
    joined = " ".join(_LINE_END.sub("|", text).split())
    return tuple(template.strip().replace(" / ", "\n") for template in alternatives(joined))


GIRLS = words(
    """Ada Alice Amy Anna Bella Carla Clara Daisy Edith Ella Emily Emma Eva Fiona Freya Grace Greta Hannah Hazel Helen
    Ivy Jane Julia Juno Kate Katie Laura Lena Lily Lisa Lucy Maria Marie Mary Maya Mia Molly Nina Nora Olivia Poppy
    Rosa Ruby Sally Sara Sarah Sofia Sophie Susan Tilly Wren Zoe"""
)
BOYS = words(
    """Adam Alex Andy Barnaby Ben Bill Bobby Charlie Chris Dan Daniel David Eric Felix Finn Frank Fred George Harry
    Henry Hugo Jack Jacob James Jasper Jim Joe John Jonas Kit Leo Liam Lucas Luke Mark Martin Max Michael Mike Ned
    Noah Oliver Oscar Otto Paul Peter Pip Quentin Robert Sam Simon Steve Theo Thomas Tim Tom Victor Will"""
)
SURNAMES = words(
    """Baker Bell Black Brown Carter Clark Cook Evans Fisher Fox Green Hall Hill Hunter Jones King Lewis Martin Miller
    Moore Parker Smith Stone Taylor Turner Walker White Wilson Wood Young"""
)
FEMALE_FAMILY = phrases(
    """4*mother| 4*mum| 2*mom| 2*grandmother| 3*grandma| granny| 4*sister| 2*aunt| 2*big sister| 3*little sister| older
    sister| younger sister| twin sister| baby sister| aunt {girl}"""
)
MALE_FAMILY = phrases(
    """4*father| 4*dad| 2*grandfather| 3*grandpa| grandad| 4*brother| 2*uncle| 2*big brother| 3*little brother| older
    brother| younger brother| twin brother| baby brother| uncle {boy}"""
)
JOBS = phrases(
    """artist| baker| builder| bus driver| butcher| captain| chef| clown| coach| cook| dancer| dentist| detective|
    doctor| driver| explorer| farmer| fireman| fisherman| football player| gardener| hunter| inventor| judge| king|
    knight| magician| mayor| mechanic| miller| musician| nurse| painter| pilot| pirate| pirate captain| player|
    police officer| policeman| postman| prince| princess| queen| sailor| scientist| shopkeeper| singer| soldier|
    tailor| taxi driver| teacher| thief| tourist| vet| waiter| witch| wizard| writer| zookeeper| astronaut|
    engineer| librarian| headteacher| caretaker| lifeguard| train driver| photographer| reporter"""
)
PETS = phrases(
    """cat| dog| hamster| goldfish| rabbit| parrot| kitten| puppy| pony| turtle| mouse| budgie| canary| rat| snake|
    lizard| guinea pig"""
)
FARM = words("chicken cow donkey duck goat goose hen horse lamb pig rooster sheep turkey bull calf foal")
FOREST = words(
    """badger bat bear beaver blackbird crow cuckoo deer eagle fox frog hare hawk hedgehog magpie mole otter owl pigeon
    robin snail sparrow squirrel stork swan toad weasel wolf woodpecker"""
)
WILD = phrases(
    """ant| bee| beetle| butterfly| camel| crab| crocodile| dolphin| dragon| dragonfly| elephant| fish| fly| giraffe|
    gorilla| hippo| jellyfish| kangaroo| koala| ladybird| leopard| lion| monkey| mosquito| moth| octopus| ostrich|
    panda| penguin| polar bear| rhino| seagull| seal| shark| spider| starfish| tiger| tortoise| unicorn| wasp|
    whale| worm| zebra| dinosaur"""
)
NATURES = words(
    """brave careful cheerful clever curious dreamy eager friendly funny gentle greedy honest hungry jolly kind lazy
    lively lonely merry naughty old patient polite proud quiet sensible shy silly sleepy small strong stubborn
    thoughtful tiny wise young noisy helpful grumpy cheeky"""
)
FEELINGS = words(
    """afraid alone angry ashamed awake bored brave busy calm careful cold confused cross curious disappointed dizzy
    embarrassed excited famous fine frightened full glad grateful happy hot hungry hurt ill jealous late lazy lonely
    lost lucky mad nervous okay pleased proud quiet ready relieved rich sad safe scared serious shocked shy sick
    silent sleepy sore sorry strong surprised thirsty tired unhappy upset well wet worried"""
)
PERSON_QUALITIES = words(
    """bad beautiful brave clever cool crazy cute different fair famous fast fat friendly fun funny good great grumpy
    handsome healthy helpful honest important intelligent interesting kind lazy lovely lucky mean naughty nice noisy
    old patient perfect polite poor pretty rude selfish sensible short shy silly slim slow smart special strange
    strict strong stupid sweet tall thin tiny weak wild wise wonderful young"""
)
QUALITIES = words(
    """amazing ancient awful bad beautiful best better big blue boring bright broken brown cheap clean clear cold
    colourful comfortable cool correct cosy crowded dangerous dark deep delicious different difficult dirty dry
    dusty easy empty exciting expensive fair famous fantastic fast favourite final first flat foreign free fresh
    frozen full funny giant gold golden good great green grey hard heavy high hollow horrible hot huge important
    impossible interesting large last light little local long loud lovely low lucky magic main modern muddy narrow
    new nice noisy normal odd old open orange own perfect pink plastic pointed popular pretty private purple quick
    quiet rare ready real red rich right round rusty sad safe salty same scary second secret shallow sharp shiny
    short silent silver simple slippery slow small smooth soft sour special spicy square steep sticky straight
    strange strong sunny sweet tall tasty terrible thick thin third tidy tiny tight true ugly unusual useful useless
    usual valuable warm weak wet white whole wide wild wonderful wooden wrong yellow"""
)
SHORT_QUALITIES = words(
    """big bright cheap clean clever cold cool dark deep easy fast funny great happy hard heavy high hot kind large
    light long loud low neat new nice noisy old poor quick quiet rich safe sad short slow small smart soft strong
    sweet tall thick thin tidy tiny warm weak wet wide wild young"""
)
LONG_QUALITIES = words(
    """beautiful boring careful comfortable dangerous delicious difficult exciting expensive famous fun helpful
    important interesting popular scary tired useful"""
)
COLOURS = phrases(
    """red| blue| green| yellow| black| white| brown| orange| pink| purple| grey| golden| silver| light blue| dark
    green"""
)
FOODS = phrases(
    """apple pie| apples| bacon| bananas| beans| biscuits| blackberry jam| bread| bread and butter| butter| cabbage|
    cake| candy| carrots| cereal| cheese| cherries| cherry pie| chicken| chicken soup| chips| chocolate| chocolate
    cake| cookies| corn| crisps| cucumber| eggs| fish| fish and chips| french fries| fruit| fruit salad| garlic|
    grapes| ham| hamburgers| honey| honey bread| hot dogs| ice cream| jam| jelly| ketchup| lettuce| meat| meatballs|
    melon| muffins| mushroom soup| mushrooms| noodles| nuts| nut cake| oat porridge| olives| onions| oranges|
    pancakes| pasta| peaches| peanut butter| pears| peas| pepper| pineapple| pizza| plums| popcorn| porridge|
    potatoes| pudding| pumpkin soup| rice| roast beef| salad| salt| sandwiches| sausages| soup| spaghetti| spinach|
    steak| strawberries| strawberry jam| sugar| sweets| toast| tomato soup| tomatoes| tomato sauce| vanilla ice
    cream| vegetables| vegetable soup| waffles| watermelon| yoghurt"""
)
ONE_FOOD = phrases(
    """apple| banana| biscuit| birthday cake| bag of sweets| bar of chocolate| boiled egg| bowl of soup| bowl of
    cereal| carrot| cookie| cheese sandwich| cherry| chocolate cake| egg| glass of milk| glass of water| cup of tea|
    cup of coffee| ham sandwich| hamburger| lemon| loaf of bread| lollipop| muffin| nut| onion| orange| pancake|
    peach| pear| piece of cake| piece of toast| pie| pizza| plum| potato| pumpkin| salad| sandwich| sausage| slice
    of bread| strawberry| tomato| bottle of water| box of chocolates| hot chocolate"""
)
DRINKS = phrases(
    """apple juice| cocoa| coffee| cola| cold water| hot chocolate| juice| lemonade| milk| orange juice| tea| water|
    warm milk| a lot of water"""
)
MEALS = words("breakfast lunch dinner supper tea")
SPORTS = phrases(
    """badminton| baseball| basketball| chess| cricket| football| golf| handball| hockey| rugby| soccer| table tennis|
    tennis| volleyball| cards"""
)
ACTIVITIES = phrases(
    """swimming| shopping| camping| fishing| riding| skiing| cycling| hiking| jogging| dancing| running| sailing|
    skating| climbing| walking| bowling| surfing| ice skating| horse riding"""
)
INSTRUMENTS = words("drums flute guitar piano trumpet violin recorder cello")
SUBJECTS = words(
    """art biology chemistry computing drama English French geography German history maths math music PE physics
    science Spanish sport religion"""
)
LANGUAGES = words("English French German Spanish Italian Chinese Latin Russian")
COUNTRIES = words(
    """Africa America Australia Austria Canada China Denmark England Europe France Germany Greece India Ireland Italy
    Japan London Mexico Norway Paris Poland Rome Scotland Spain Sweden Switzerland Turkey Berlin"""
)
WEEKDAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
WEATHER = words(
    "beautiful cloudy cold cool dark foggy freezing grey hot icy nice rainy snowy stormy sunny warm wet windy"
)
MONTHS = words("January February March April May June July August September October November December")
SEASONS = words("spring summer autumn winter")
SCHOOL_THINGS = phrases(
    """backpack| bag| bell| blackboard| board| book| bookshelf| calculator| chair| classroom| computer| crayon| desk|
    dictionary| eraser| exercise book| folder| glue stick| homework book| laptop| map| notebook| page| paintbrush|
    pen| pencil| pencil case| picture book| poster| project| question| report| rubber| ruler| school bag|
    schoolbook| sheet of paper| story| table| tablet| test| textbook| timetable| word| workbook| answer| essay|
    exam| lesson| mistake| poem| song| speech| letter| sentence| diary| drawing| exercise| quiz"""
)
HOUSE_THINGS = phrases(
    """alarm clock| armchair| basket| battery| bath| bed| bench| blanket| bottle| bowl| box| broom| bucket| button|
    candle| carpet| chair| clock| cup| mug| cupboard| curtain| cushion| dish| door| drawer| fence| fireplace| fork|
    fridge| frying pan| glass| hammer| jar| kettle| key| knife| ladder| lamp| light| lock| mirror| nail| needle|
    newspaper| oven| pan| photo| picture| pillow| plate| pot| phone| mobile phone| radio| rope| shelf| shower| sink|
    sofa| spoon| stool| stove| suitcase| teapot| telephone| television| toaster| toilet| toothbrush| torch| towel|
    TV| umbrella| vase| wall| washing machine| window| gate| chimney| roof| lantern| magazine| camera| watch|
    wallet| purse| comb| brush| saw"""
)
TOYS = phrases(
    """ball| balloon| bike| bicycle| board game| boat| bow| bracelet| card| coin| comic| costume| crown| cricket bat|
    dice| doll| drum| drone| football| flag| flute| game| gift| guitar| helmet| invention| kite| lantern| magic
    wand| marble| mask| model| necklace| paper boat| paper plane| piano| present| prize| puppet| puzzle| racket|
    ring| robot| rocket| sandcastle| scooter| skateboard| sledge| snowman| sword| teddy bear| tent| ticket| toy| toy
    car| train set| treasure| treasure map| trumpet| tricycle| violin| whistle| yo-yo| film| movie| video| joke|
    trick| secret| dream| idea| plan| wish| surprise| message| postcard| parcel| birthday card| birthday present|
    medal| stamp"""
)
CLOTHES = phrases(
    """apron| belt| boot| cap| coat| dress| glove| hat| hoodie| jacket| jumper| mitten| pullover| pyjama top| raincoat|
    scarf| shirt| shoe| skirt| slipper| sock| suit| sweater| swimsuit| T-shirt| tie| trainer| uniform| school
    uniform| woolly hat"""
)
PAIRS = phrases(
    """boots| glasses| gloves| jeans| mittens| pyjamas| rubber boots| sandals| shoes| shorts| slippers| sneakers|
    socks| sunglasses| trainers| trousers| clothes"""
)
NATURE_THINGS = phrases(
    """acorn| apple tree| beach| bird| branch| bridge| bush| cave| cloud| egg| feather| field| flower| flower bed|
    footprint| forest| garden| hedge| hill| hole| island| lake| leaf| meadow| moon| mountain| mud puddle| nest| oak|
    ocean| path| pebble| pine| planet| plant| pond| puddle| rainbow| river| road| rock| root| rose| seed| shadow|
    shell| sky| snowball| snowflake| star| stick| stone| storm| stream| sun| sunflower| tree| tulip| valley|
    volcano| waterfall| wave| web| wood| desert| jungle"""
)
TOWN_PLACES = phrases(
    """airport| bakery| bank| beach| bus stop| bus station| castle| cinema| circus| church| corner shop| dentist|
    doctor| fair| farm| fire station| football stadium| gym| harbour| hospital| hotel| ice rink| kitchen| library|
    lake| market| mountains| museum| park| playground| police station| post office| pool| restaurant| river| sea|
    school hall| seaside| shop| shopping centre| sports centre| sports hall| station| street| supermarket| swimming
    pool| theatre| toy shop| train station| village| zoo| forest| mill| well| city| town centre| village hall| club|
    garden centre| book shop| pet shop| clothes shop| theme park| campsite"""
)
ROOMS = phrases(
    """attic| bathroom| bedroom| cellar| garage| garden| hall| kitchen| living room| shed| treehouse| dining room|
    playroom"""
)
VEHICLES = words(
    """bike boat bus car coach ferry helicopter lorry motorbike plane ship sledge taxi tractor train tram truck van
    underground"""
)
BUILDINGS = words(
    """barn bridge castle church cottage factory farmhouse flat gate hotel house hut lighthouse palace school shop
    skyscraper tent tower windmill"""
)
BODY = words(
    """arm back ear elbow eye face finger foot hand head knee leg neck nose shoulder stomach thumb toe tooth ankle"""
)
ABSTRACTS = phrases(
    """accident| adventure| afternoon| answer| army| band| battle| birthday| birthday party| break| bus ride| chance|
    class| club| colour| competition| concert| conversation| dance| day| difference| evening| event| experiment|
    family| fight| fire| friend| goal| group| hobby| holiday| hour| job| journey| language| life| line| luck| match|
    meal| meeting| member| minute| moment| month| morning| name| neighbour| neighbourhood| night| noise| number|
    party| penalty| person| picnic| place| point| practice| problem| programme| race| reason| rest| rule| school
    play| school trip| season| sentence| show| side| size| smell| sound| sports day| stage| start| subject| team|
    thing| time| tour| town| trip| village| visit| voice| walk| war| way| week| weekend| winner| world| year| yard|
    end| middle| top| bottom| choice| prize giving| website| email| password| screen"""
)
CROWDS = words(
    """children boys girls people pupils students teachers parents friends players neighbours men women kids classmates
    visitors"""
)
NUMBERS = words(
    """two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty hundred"""
)
TREASURES = phrases(
    """blue kite| brass bell| clay whistle| green umbrella| little drum| paper boat| red scarf| round mirror| silver
    key| small lantern| tin trumpet| wooden spoon| woollen hat| yellow balloon| old map| golden ring| blue backpack|
    pencil case| football| teddy bear| library book| red bike| school bag| lucky coin| green jacket| toy robot|
    birthday card| black cap| phone| watch"""
)
PLURAL_TREASURES = phrases(
    """coloured marbles| dancing shoes| glass beads| new mittens| painted stones| red boots| silk ribbons| white
    feathers| blue gloves| football shoes| new glasses| coloured pencils| swimming goggles| house keys| old stamps"""
)

DEEDS = phrases(
    """
    act in the school play| add {number} and {number}| answer the question| arrive at the {place}| ask {anyone} a
    question| bake a cake| become {a job}| believe {anyone}| borrow {a thing}| break {a_thing}| bring {anyone} {a
    thing}| brush {s.his} teeth| build {a building}| buy {a_thing}| buy {food}| buy {a colour} {garment}| call
    {anyone}| carry {a_thing}| catch the {animal}| change {s.his} clothes| chase the {animal}| clean {a_thing}|
    clean the {place}| climb the {noun}| close {a_thing}| collect {things}| come home| come from {country}| come to
    the {place}| cook {food}| count the {nouns}| cross the street| cry| cut the {food}| dance| dance with {anyone}|
    describe {a_noun}| dig a hole| do {s.his} homework| do the dishes| draw {a_noun}| dream about {animals}| dream
    of {a_noun}| drink {drink}| drive to the {place}| drop {a_thing}| eat {food}| eat {food} and {food}| eat {a
    one_food}| eat {food} for {meal}| enjoy the {noun}| explain the {noun}| fall asleep| fall off {s.his} bike| fall
    over {a noun}| feed the {animal}| feed {s.his} {pet}| feel {being}| fight with {anyone}| find {a_thing}| find
    {a_noun}| finish {s.his} homework| fix {a_thing}| fly to {country}| follow {anyone}| forget {a_thing}| forget
    {a_noun}| get {a_thing}| get {a pet}| get up at {clock}| get up early| get a letter from {anyone}| give {anyone}
    {a_thing}| give {anyone} {food}| go home| go to school| go to bed| go to the {place}| go to the {place} with
    {anyone}| go to {country}| go {activity}| go {activity} with {anyone}| go to school by {vehicle}| grow {food}|
    hate {food}| hate {a_noun}| have {a_noun}| have {a_thing}| have {food} for {meal}| have {meal}| have {number}
    {nouns}| have {colour} hair| have {subject} on {weekday}| have a {party|test|cold|headache|picnic|dream|problem|
    bath}| have a lot of {fun|homework|friends|time}| hear {a_noun}| help {anyone}| help {anyone} in the {place}|
    hide {a_thing}| hide behind the {noun}| hit the {thing}| hold {a_thing}| hug {anyone}| hurt {s.his} {body}|
    invite {anyone}| jump over {a noun}| jump into the water| keep {a_thing}| kick the ball| know {anyone}| know the
    {answer|way|song}| laugh| laugh at {anyone}| learn {language}| learn to {simple}| leave the {place}| leave at
    {clock}| like {food}| like {food} and {food}| like {activity}| like {animals}| like {a_noun}| like {anyone}|
    like {subject}| like {colour} {nouns}| listen to {anyone}| listen to music| live in {country}| live in the
    {place}| live in {a quality} {building}| live near the {place}| look at {a_noun}| look at {anyone}| look for
    {a_thing}| look after the {animal}| look {being}| lose {a_thing}| lose the game| love {anyone}| love {food}|
    love {a_noun}| love {animals}| love {activity}| make {a_thing}| make {food}| make {anyone} {happy|sad|angry|
    laugh}| make a {cake|mistake|noise|wish|card|snowman}| meet {anyone}| meet {anyone} at {clock}| miss the
    {vehicle}| miss {anyone}| move to {country}| need {a_thing}| need {anyone}| need {food}| open {a_thing}| pack
    {s.his} {thing}| paint {a_noun}| paint {a_thing} {colour}| pay {number} {euros|pounds|dollars}| pick {food}|
    play {sport}| play {sport} {with {anyone}|on {weekday}}| play the {instrument}| play with {a_thing}| play with
    {anyone}| play in the {place}| play computer games| play a game| point at {a_noun}| practise {sport}| pull the
    {thing}| push {anyone}| put on {s.his} {garment}| put {a thing} in the {thing}| put {a thing} on the {thing}|
    read {a quality} book| read about {animals}| read a book about {nouns}| remember {a_noun}| repair {a_thing}|
    ride {s.his} bike| ride a {horse|pony|bike|camel}| run home| run to the {place}| run after {anyone}| run fast|
    save {anyone}| say goodbye| say sorry to {anyone}| score {small_number} goals| see {a_noun}| see {a_noun} in the
    {place}| see {a animal}| see {anyone}| see {number} {animals}| sell {a_thing}| send {anyone} {a thing}| share
    {food} with {anyone}| shout at {anyone}| show {anyone} {a_thing}| show {anyone} {a_noun}| sing a song| sing
    {s.his} {quality} song| sit on {a noun}| sit next to {anyone}| sleep| sleep in the {place}| sleep in a tent|
    smell {food}| smile| smile at {anyone}| speak {language}| speak to {anyone}| spend {number} {days|weeks|hours}
    in {country}| stand {where}| stay at home| stay in the {place}| stay in bed| steal {a_thing}| study {subject}|
    swim in the {lake|sea|pool|river}| take {a_thing}| take the {vehicle}| take a {photo|picture} of {a_noun}| take
    {anyone} to the {place}| talk to {anyone}| talk about {a_noun}| teach {subject}| tell {anyone} a {story|joke|
    secret}| tell {anyone} about {a_noun}| thank {anyone}| think about {a_noun}| think of {anyone}| throw {a_thing}|
    tidy {s.his} room| touch {a_noun}| travel to {country}| travel by {vehicle}| try {food}| try to {simple}| turn
    on the {light|radio|TV|computer}| turn left at the {place}| understand {anyone}| understand the {question|joke|
    rules}| use {a_thing}| visit {anyone}| visit the {place}| visit {anyone} in {country}| wait for {anyone}| wait
    for the {vehicle}| wait {where}| wake up| wake up at {clock}| walk home| walk to the {place}| walk to school
    with {anyone}| walk the dog| walk in the {place}| want {a_thing}| want {food}| want to be {a job}| wash {s.his}
    {hands|face|hair}| wash {a_thing}| watch TV| watch {a quality} film| watch {a_noun}| watch {anyone}| water the
    flowers| wear {a colour} {garment}| wear {a quality} {garment}| wear {colour} {pair}| win the {game|race|match}|
    win {a noun}| work hard| work in the {place}| work as {a job}| worry about {a_noun}| write a {letter|card|
    message} to {anyone}| write a {story|poem} about {a_noun}| write {s.his} name
    """
)
